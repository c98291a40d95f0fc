package oauthflow

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// entityVariable is declared in every template.
const entityVariable = "entity_id"

// TemplateError says why a URL template could not be filled in. It never holds
// the refused value: that may be a stranger's text.
type TemplateError struct {
	// Field is the URL's field, "TokenURL"; empty from Expand itself.
	Field string
	// Variable is the variable's name; empty if the template itself is wrong.
	Variable string
	// Missing reports that the variable has no value.
	Missing bool
	// Problem says what is wrong and what to do: "contains {x}, but …".
	Problem string
}

// Error implements error.
func (e *TemplateError) Error() string {
	subject := e.Field
	if subject == "" {
		subject = "the URL template"
	}
	return "oauthflow: " + subject + " " + e.Problem
}

func problem(text string) *TemplateError { return &TemplateError{Problem: text} }

// Expand puts values into the {variables} of a URL template:
//
//	https://login.example.com/{entity_id}/token
//
// variables declares them. entity_id need not be declared: it is a Label in the
// host, a Segment in the path and a Value in the query. A [Label] may stand
// anywhere, a [Segment] in path and query, a [Value] in query values only, a [Host]
// alone in the place of the host, with or without a fixed port behind it.
//
// A value can fill its place and do nothing else. It is refused if it has other
// characters than its kind allows, and the finished URL is parsed again: scheme,
// fixed host suffix (or the host's allow-list) and path prefix are the template's,
// there is no userinfo, no fragment and no dot segment. The scheme is https, or
// http for loopback hosts.
//
// The error is a [*TemplateError].
func Expand(template string, variables map[string]Variable, values map[string]string) (string, error) {
	t, err := parseTemplate(template, variables)
	if err != nil {
		return "", err
	}
	var out, host strings.Builder
	out.WriteString(t.scheme + "://")
	for _, p := range t.parts {
		text := p.text
		if p.variable {
			if text, err = fill(p, variables, values); err != nil {
				return "", err
			}
		}
		out.WriteString(text)
		if p.place == inHost {
			host.WriteString(text)
		}
	}
	if err := t.check(out.String(), host.String()); err != nil {
		return "", err
	}
	return out.String(), nil
}

// place is where in a URL a part of a template stands.
type place int

const (
	inHost place = iota
	inPath
	inQuery
)

// part is fixed text or a variable's name, all of it in one place.
type part struct {
	text     string
	variable bool
	place    place
}

// parsedTemplate is a template, cut up.
type parsedTemplate struct {
	scheme string
	parts  []part
	// pathPrefix is the fixed path before the first variable in it.
	pathPrefix string
	// host is the variable that is the whole host; nil if the host is fixed, or its
	// end is.
	host *Variable
}

func parseTemplate(template string, variables map[string]Variable) (*parsedTemplate, error) {
	scheme, rest, ok := strings.Cut(template, "://")
	if !ok || (scheme != "https" && scheme != "http") {
		return nil, problem("is not an absolute URL: it must begin with https://")
	}
	for _, c := range []byte(rest) {
		switch {
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`|", c) >= 0:
			return nil, problem("contains " + strconv.QuoteToASCII(string(rune(c))) + ", which a URL may not: percent-encode it")
		case c == '#':
			return nil, problem("has a fragment (#…): take it out")
		}
	}
	t := &parsedTemplate{scheme: scheme}
	where, fixed := inHost, 0 // fixed is where the pending fixed text begins
	flush := func(end int) {
		if end > fixed {
			t.parts = append(t.parts, part{text: rest[fixed:end], place: where})
		}
		fixed = end
	}
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '/' && where == inHost:
			flush(i)
			where = inPath
		case c == '?' && where != inQuery:
			flush(i)
			where = inQuery
		case c == '@' && where == inHost:
			return nil, problem("has user information before its host (…@): take it out")
		case c == '}':
			return nil, problem("has a } without a {")
		case c == '{':
			name, _, ok := strings.Cut(rest[i+1:], "}")
			if !ok || !validName(name) {
				return nil, problem("has a { that does not begin a {variable}: names are letters, digits and _")
			}
			if where == inQuery && !inQueryValue(rest[:i]) {
				return nil, &TemplateError{Variable: name, Problem: "has {" + name + "} where a parameter's name stands: it may stand after a = only"}
			}
			flush(i)
			t.parts = append(t.parts, part{text: name, variable: true, place: where})
			i += len(name) + 1
			fixed = i + 1
		}
	}
	flush(len(rest))
	for _, p := range t.parts {
		if p.place == inPath {
			if !p.variable {
				t.pathPrefix = p.text
			}
			break
		}
	}
	for _, p := range t.parts {
		if v := variables[p.text]; p.place == inHost && p.variable && v.Kind == Host {
			t.host = &v
			return t, t.checkWholeHost(p.text)
		}
	}
	return t, t.checkHost()
}

// checkWholeHost makes sure that a variable of kind Host stands alone: of what was
// put together from it and other text, its allow-list would say nothing.
func (t *parsedTemplate) checkWholeHost(name string) error {
	for i, p := range t.parts {
		if p.place == inHost && !(i == 0 && p.variable) && !(i == 1 && !p.variable && strings.HasPrefix(p.text, ":")) {
			return &TemplateError{Variable: name, Problem: "has {" + name + "}, which is a whole host name, beside other text in its host: only a fixed port may follow it"}
		}
	}
	return nil
}

// checkHost looks at the host's variables: each is (part of) one DNS label, and
// what follows the last one is fixed and long enough to belong to somebody.
func (t *parsedTemplate) checkHost() error {
	var before, after, last string // fixed text around the host's last variable
	for _, p := range t.parts {
		switch {
		case p.place != inHost:
		case p.variable:
			if strings.ContainsAny(before+after, ":[]") {
				return &TemplateError{Variable: p.text, Problem: "has {" + p.text + "} in a port or an address: it may be a part of a host name only"}
			}
			if last != "" && after == "" {
				return &TemplateError{Variable: p.text, Problem: "has two variables side by side in its host: put a dot between them"}
			}
			before, after, last = before+after, "", p.text
		default:
			after += p.text
		}
	}
	if last == "" {
		if after == "" {
			return problem("has no host")
		}
		return nil
	}
	name, _, _ := strings.Cut(after, ":")
	_, suffix, dot := strings.Cut(name, ".")
	if !dot || suffix == "" || (!strings.Contains(strings.Trim(suffix, "."), ".") && !ownedTLD(suffix)) {
		return &TemplateError{Variable: last, Problem: "has {" + last + "} without a fixed domain after it: it must be followed by one like .example.com, or anybody could own the host; declare it with kind host and an allow-list if it is the whole name"}
	}
	return nil
}

// ownedTLD reports whether nobody can register names under this top-level
// domain (RFC 2606, RFC 6761, ICANN's .internal).
func ownedTLD(name string) bool {
	switch strings.ToLower(name) {
	case "localhost", "test", "example", "invalid", "internal", "local":
		return true
	}
	return false
}

// check parses the finished URL again: what the parts promised must have come true.
func (t *parsedTemplate) check(finished, host string) error {
	u, err := url.Parse(finished)
	if err != nil { // its text repeats the URL, and so the values
		return problem("is not a URL after its variables are filled in")
	}
	switch {
	case u.Scheme != t.scheme, u.Host != host, u.User != nil, u.Opaque != "", u.Fragment != "":
		return problem("is not the same URL after its variables are filled in")
	case !strings.HasPrefix(u.EscapedPath(), t.pathPrefix):
		return problem("has another path after its variables are filled in")
	case t.host != nil && !t.host.allows(u.Hostname()):
		return problem("has a host that is not allowed after its variables are filled in")
	case !validHost(u):
		return problem("has a host that is neither a name nor an address, or a bad port")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return problem("begins with http://, which is for loopback hosts (localhost, 127.0.0.1) only: use https://")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return problem("has a . or .. in its path")
		}
	}
	return nil
}

// validHost checks the host by itself, because url.Parse lets almost anything
// through.
func validHost(u *url.URL) bool {
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return false
	}
	if port == "" && strings.HasSuffix(u.Host, ":") {
		return false
	}
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Zone() == ""
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !only(label, "-_") {
			return false
		}
	}
	return true
}

// isLoopback reports whether host is this machine: there, http is no risk. Names
// below localhost are not trusted, because Go asks the DNS for them.
func isLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
