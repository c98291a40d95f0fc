package oauthtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// Reply is an answer of the token, revocation or API endpoint.
type Reply struct {
	Status int // default 200
	Header http.Header
	// Members are sent as a JSON object, unless Body is set.
	Members map[string]any
	// Body is sent as it is. Say its media type in Header.
	Body []byte

	successor string   // of the presented refresh token, which it hands out; empty: none
	secrets   []string // what it hands out
}

// SetHeader sets a header field and returns the reply.
func (r *Reply) SetHeader(name, value string) *Reply {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(name, value)
	return r
}

// delivers reports whether the successor is in what is sent: a step may have taken
// it out, and then the client has not got it.
func (r *Reply) delivers() bool {
	return r.successor != "" && bytes.Contains(r.body(), []byte(r.successor))
}

// body returns what is sent, and completes the header.
func (r *Reply) body() []byte {
	if r.Body != nil {
		return r.Body
	}
	if r.Members == nil {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.Members); err != nil {
		return []byte(strconv.Quote("oauthtest: Reply.Members: " + err.Error()))
	}
	if r.Header.Get("Content-Type") == "" {
		r.SetHeader("Content-Type", "application/json; charset=utf-8")
	}
	return b.Bytes()
}

// write sends the reply whole.
func (r *Reply) write(w http.ResponseWriter) error {
	body := r.begin(w)
	_, err := w.Write(body)
	return err
}

// begin sends status and header, and returns the body that is still to be sent.
func (r *Reply) begin(w http.ResponseWriter) []byte {
	body := r.body()
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 §5.1
	for name, values := range r.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	status := r.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	return body
}

// oauthError is an error reply of RFC 6749 §5.2, with Microsoft's line breaks in
// the description: clients that print it as it is shall notice.
func oauthError(status int, code, description string) *Reply {
	r := &Reply{Status: status, Members: map[string]any{
		"error":             code,
		"error_description": description + "\r\nTrace ID: 00000000-0000-0000-0000-000000000000",
	}}
	if status == http.StatusUnauthorized {
		r.SetHeader("WWW-Authenticate", `Basic realm="token"`)
	}
	return r
}
