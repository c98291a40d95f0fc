package httpadapter

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/workflow"
)

// problem is an error as RFC 9457 has it (application/problem+json). It is shown
// to whoever asked, so it holds no secret.
type problem struct {
	Type   string       `json:"type"` // a code such as "not-own-connection"
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []fieldError `json:"errors,omitempty"`

	retryAfter time.Duration
	allow      string // the Allow header of 405
	cause      error  // for the log, not for the reply
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Error implements error.
func (p *problem) Error() string { return p.Type + ": " + p.Detail }

var errNotFound = &problem{Status: http.StatusNotFound, Type: "not-found", Detail: "There is no such thing, or it is not yours to see."}

func malformed(detail string) error {
	return &problem{Status: http.StatusBadRequest, Type: "malformed", Detail: detail}
}

// maxTold is how many invalid fields a problem's detail names.
const maxTold = 10

// invalidField is the answer to a field that cannot be accepted.
func invalidField(field, message string) error {
	return invalidFields(fieldError{field, message})
}

func invalidFields(fields ...fieldError) error {
	texts := make([]string, len(fields))
	for i, f := range fields {
		if texts[i] = f.Field + " " + f.Message; f.Field == "" {
			texts[i] = "The body " + f.Message
		}
	}
	if rest := len(texts) - maxTold; rest > 0 {
		texts = append(texts[:maxTold], "and "+strconv.Itoa(rest)+" more, see errors")
	}
	return &problem{
		Status: http.StatusUnprocessableEntity, Type: "invalid", Detail: strings.Join(texts, "; ") + ".", Errors: fields,
	}
}

// problemOf translates an error. What nobody planned becomes a 500 whose text is
// in the log only.
func problemOf(err error) *problem {
	var (
		own       *problem
		in        *integrations.Error
		input     *workflow.InputError
		invalid   *integrations.InvalidError
		tooLarge  *http.MaxBytesError
		statusFor = func(status int, kind, detail string) *problem {
			return &problem{Status: status, Type: kind, Detail: detail, cause: err}
		}
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &in): // before invalid: a stored definition's own faults are not the request's
		return integrationProblem(in)
	case errors.As(err, &invalid):
		fields := make([]fieldError, len(invalid.Fields))
		for i, f := range invalid.Fields {
			fields[i] = fieldError(f)
		}
		return problemOf(invalidFields(fields...))
	case errors.Is(err, integrations.ErrConflict):
		return statusFor(http.StatusConflict, "conflict", "Somebody else has changed this meanwhile. Read it again, then repeat the change.")
	case errors.As(err, &input):
		fields := make([]fieldError, len(input.Fields))
		for i, f := range input.Fields {
			fields[i] = fieldError{strings.TrimSuffix("input."+f.Field, "."), f.Message}
		}
		return problemOf(invalidFields(fields...))
	case errors.As(err, &tooLarge):
		return statusFor(http.StatusRequestEntityTooLarge, "too-large",
			"The body is larger than "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes.")
	case errors.Is(err, workflow.ErrUnknown), errors.Is(err, workflow.ErrNotFound), errors.Is(err, workflow.ErrInvalidOrg):
		return errNotFound
	case errors.Is(err, workflow.ErrBadCursor):
		return problemOf(errBadCursor)
	case errors.Is(err, workflow.ErrInvalidKey):
		return problemOf(invalidField("key", "must have 1 to 255 printable ASCII characters and no spaces"))
	case errors.Is(err, workflow.ErrInvalidRunAt):
		return problemOf(invalidField("run_at", "must be in the future"))
	case errors.Is(err, workflow.ErrKeyReused):
		return statusFor(http.StatusConflict, "key-reused", "The key was used with another input. Use another key for another request.")
	case errors.Is(err, workflow.ErrFinished):
		return statusFor(http.StatusConflict, "finished", "The execution is finished already.")
	case errors.Is(err, workflow.ErrNotFailed):
		return statusFor(http.StatusConflict, "not-failed", "Only executions that failed, timed out or were cancelled can be retried.")
	case errors.Is(err, workflow.ErrNotStarted):
		return statusFor(http.StatusServiceUnavailable, "unavailable", "Bifrost is not started: the program must call bf.Start(ctx).")
	case errors.Is(err, workflow.ErrUnavailable):
		return statusFor(http.StatusServiceUnavailable, "unavailable", "The store is not available. Try again.")
	case errors.Is(err, workflow.ErrClosed), errors.Is(err, oauthflow.ErrClosed):
		return statusFor(http.StatusServiceUnavailable, "unavailable", "This server is stopping. Try again.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return statusFor(http.StatusServiceUnavailable, "unavailable", "This took too long. Try again.")
	}
	return statusFor(http.StatusInternalServerError, "internal", "Something went wrong here; the server's log says what.")
}

// integrationKinds are the answers to errors of package integrations. What is not
// here may work later.
var integrationKinds = []struct {
	kind   error
	status int
	code   string
}{
	{integrations.ErrNotConnected, http.StatusConflict, "not-connected"},
	{integrations.ErrReauthRequired, http.StatusConflict, "reauth-required"},
	{integrations.ErrNotInteractive, http.StatusConflict, "not-interactive"},
	{integrations.ErrNotOwn, http.StatusConflict, "not-own-connection"},
	{integrations.ErrInvalid, http.StatusConflict, "invalid-definition"},
	{integrations.ErrExists, http.StatusConflict, "exists"},
	{integrations.ErrCodeDefined, http.StatusConflict, "code-defined"},
	{integrations.ErrNotOwnDefinition, http.StatusConflict, "not-own-definition"},
	{integrations.ErrConflict, http.StatusConflict, "conflict"},
	{integrations.ErrBusy, http.StatusTooManyRequests, "too-many-requests"},
}

func integrationProblem(e *integrations.Error) *problem {
	switch {
	case errors.Is(e, integrations.ErrNotFound):
		return errNotFound
	case errors.Is(e, integrations.ErrForbiddenOrg), errors.Is(e, integrations.ErrNoOrg):
		return errForbidden
	}
	p := &problem{
		Status: http.StatusServiceUnavailable, Type: "unavailable", Detail: integrationDetail(e), retryAfter: e.RetryAfter, cause: e,
	}
	for _, k := range integrationKinds {
		if errors.Is(e, k.kind) {
			p.Status, p.Type = k.status, k.code
			break
		}
	}
	return p
}

// integrationDetail is e's text for a person: without the package's name.
func integrationDetail(e *integrations.Error) string {
	return strings.TrimPrefix(e.Error(), "integrations: ")
}

// write sends the problem as JSON.
func (p *problem) write(w http.ResponseWriter) {
	out := *p
	if out.Title == "" {
		out.Title = http.StatusText(out.Status)
	}
	p.headers(w)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(out.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(out) // the client went away, or not
}

// headers sets what belongs to the problem in either form.
func (p *problem) headers(w http.ResponseWriter) {
	if p.allow != "" {
		w.Header().Set("Allow", p.allow)
	}
	if p.Status == http.StatusServiceUnavailable || p.retryAfter > 0 {
		seconds := max(1, int64(math.Ceil(p.retryAfter.Seconds())))
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
}
