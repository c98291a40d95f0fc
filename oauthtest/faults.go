package oauthtest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Serve is no fault: the request is answered as usual.
func Serve() Step { return Step{run: func(*Exchange) {}} }

// Answer sends a canned reply; nothing is processed.
func Answer(r Reply) Step {
	return Do(func(x *Exchange) {
		c := r
		c.Header = r.Header.Clone()
		x.Send(&c)
	})
}

// Raw sends a body of any kind with the given media type; nothing is processed.
func Raw(status int, mediaType, body string) Step {
	return Answer(Reply{Status: status, Header: http.Header{"Content-Type": {mediaType}}, Body: []byte(body)})
}

// Fail sends an OAuth error (RFC 6749 §5.2); nothing is processed.
func Fail(status int, code, description string) Step {
	return Do(func(x *Exchange) { x.Send(oauthError(status, code, description)) })
}

// Edit processes the request and lets f change the reply before it is sent.
func Edit(f func(*Reply)) Step {
	return Do(func(x *Exchange) {
		r := x.Process()
		f(r)
		x.Send(r)
	})
}

// Set processes the request and replaces one member of the reply; a nil value is
// sent as null. [Unset] removes it.
func Set(member string, value any) Step {
	return Edit(func(r *Reply) { r.Members[member] = value })
}

// Unset processes the request and removes members of the reply.
func Unset(members ...string) Step {
	return Edit(func(r *Reply) {
		for _, m := range members {
			delete(r.Members, m)
		}
	})
}

// Rewrite processes the request and sends the reply's body as f makes it, under
// another media type: members twice, something behind the JSON, garbage.
func Rewrite(mediaType string, f func(body []byte) []byte) Step {
	return Edit(func(r *Reply) {
		r.Body = f(r.body())
		r.SetHeader("Content-Type", mediaType)
	})
}

// Form processes the request and sends the reply form-encoded, under any media
// type. Members that are no texts are sent as their JSON.
func Form(mediaType string) Step {
	return Edit(func(r *Reply) {
		form := url.Values{}
		for name, value := range r.Members {
			text, ok := value.(string)
			if !ok {
				raw, _ := json.Marshal(value) // what a reply has was made to be JSON
				text = string(raw)
			}
			form.Set(name, text)
		}
		r.Body = []byte(form.Encode())
		r.SetHeader("Content-Type", mediaType)
	})
}

// Under processes the request and sends the reply's members below a path of names
// with dots between them ("data.token"), beside those of others.
func Under(path string, others map[string]any) Step {
	return Edit(func(r *Reply) {
		names := strings.Split(path, ".")
		for _, name := range slices.Backward(names) {
			r.Members = map[string]any{name: r.Members}
		}
		for name, value := range others {
			if name != names[0] {
				r.Members[name] = value
			}
		}
	})
}

// Redirect answers with a redirect; nothing is processed.
func Redirect(status int, location string) Step {
	return Answer(Reply{Status: status, Header: http.Header{"Location": {location}}})
}

// Delay waits before it takes the other step. If the client goes away meanwhile,
// nothing is processed; [Swallow] is for the other case.
func Delay(d time.Duration, then Step) Step {
	return Do(func(x *Exchange) {
		switch {
		case !x.Wait(d):
			x.sent = true
		case then.early:
			x.Reset()
		case then.run != nil:
			then.run(x)
		}
	})
}

// Drop breaks the connection before the request is read. In process, when queued
// for [Token], no byte of the body is read: certainly not sent. For a single grant
// the form has to be read to know it.
func Drop() Step { return Step{early: true} }

// Reset reads the request and breaks the connection; nothing is processed.
func Reset() Step { return Do((*Exchange).Reset) }

// Hang reads the request and never answers; nothing is processed.
func Hang() Step { return Do((*Exchange).Hang) }

// Lose processes the request, saves the state and breaks the connection: the
// reply is lost.
func Lose() Step {
	return Do(func(x *Exchange) {
		x.Process()
		x.Reset()
	})
}

// Swallow processes the request, saves the state and never answers.
func Swallow() Step {
	return Do(func(x *Exchange) {
		x.Process()
		x.Hang()
	})
}

// Cut processes the request and breaks the connection after n bytes of the body.
func Cut(n int) Step {
	return partial(func(x *Exchange, _ *Reply, body []byte) {
		_, _ = x.w.Write(body[:min(n, len(body))])
		x.flush()
		x.Reset()
	})
}

// Stall processes the request, sends header and n bytes of the body, and then
// nothing any more.
func Stall(n int) Step {
	return partial(func(x *Exchange, _ *Reply, body []byte) {
		_, _ = x.w.Write(body[:min(n, len(body))])
		x.flush()
		x.Hang()
	})
}

// Drip processes the request and sends one byte of the body per interval.
func Drip(interval time.Duration) Step {
	return partial(func(x *Exchange, r *Reply, body []byte) {
		for i := range body {
			x.flush()
			if !x.Wait(interval) {
				return
			}
			if i == len(body)-1 {
				x.provider.delivering(x.entry, r)
			}
			if _, err := x.w.Write(body[i : i+1]); err != nil {
				return
			}
		}
	})
}

// partial processes the request, sends status and header, and leaves the body to
// send, which says when the reply is delivered.
func partial(send func(x *Exchange, r *Reply, body []byte)) Step {
	return Do(func(x *Exchange) {
		r := x.Process()
		x.sent = true
		x.provider.answering(x.entry, r)
		send(x, r, r.begin(x.w))
	})
}

func (x *Exchange) flush() { _ = http.NewResponseController(x.w).Flush() }

// Endless sends a JSON body without end, until the client has had enough; nothing
// is processed.
func Endless() Step {
	return Do(func(x *Exchange) {
		x.sent = true
		r := &Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"access_token":"`)}
		chunk := r.begin(x.w)
		for {
			if _, err := x.w.Write(chunk); err != nil || x.request.Context().Err() != nil {
				return
			}
			chunk = bytes.Repeat([]byte("a"), 32<<10)
		}
	})
}

// Bomb sends size bytes of JSON, gzipped to about a thousandth of that; nothing is
// processed. Clients that did not say Accept-Encoding: gzip get it too.
func Bomb(size int) Step {
	return Do(func(x *Exchange) {
		// Gzip files may be concatenated (RFC 1952 §2.2), so one chunk is enough.
		chunk := gzipped(bytes.Repeat([]byte("a"), 1<<20))
		body := gzipped([]byte(`{"access_token":"`))
		for n := 0; n < size; n += 1 << 20 {
			body = append(body, chunk...)
		}
		body = append(body, gzipped([]byte(`"}`))...)
		x.Send(&Reply{Body: body, Header: http.Header{
			"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"},
		}})
	})
}

func gzipped(text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(text) // a bytes.Buffer takes everything
	_ = z.Close()
	return b.Bytes()
}
