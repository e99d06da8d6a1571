package uftp

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMsg bounds what of a server's text goes into an error, in bytes.
const maxMsg = 300

// redactor makes a peer's text fit to be shown: no secret that the request
// held, no control characters, no more than maxMsg bytes.
type redactor struct{ secrets []string }

// newRedactor knows the secrets given and those in req's headers.
func newRedactor(req *http.Request, secrets ...string) redactor {
	r := redactor{secrets: secrets}
	if req == nil {
		return r
	}
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	r = r.with(value)
	if !strings.EqualFold(scheme, "Basic") {
		return r
	}
	if pair, err := base64.StdEncoding.DecodeString(value); err == nil {
		_, password, _ := strings.Cut(string(pair), ":")
		r = r.with(string(pair), password)
	}
	return r
}

func (r redactor) with(secrets ...string) redactor {
	return redactor{secrets: append(slices.Clip(r.secrets), secrets...)}
}

// text redacts, cleans and shortens s, in this order, so that a secret is
// neither cut in two nor hidden by a line break in it.
func (r redactor) text(s string) string {
	replacer := r.replacer()
	s = replacer.Replace(s)
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c) || unicode.IsControl(c):
			return ' '
		case !unicode.IsPrint(c): // also what would change the writing direction
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	s = replacer.Replace(strings.Join(strings.Fields(s), " "))
	return clip(s, maxMsg)
}

// replacer knows each secret in the ways in which servers and Go's own error
// messages write text. The longest match wins, so that no part is left over.
func (r redactor) replacer() *strings.Replacer {
	var forms []string
	for _, s := range r.secrets {
		if strings.TrimSpace(s) == "" {
			continue
		}
		quoted := strconv.Quote(s)
		inJSON, _ := json.Marshal(s) // cannot fail on a string
		if unpadded := strings.TrimRight(s, "="); unpadded != "" {
			forms = append(forms, unpadded)
		}
		forms = append(forms, s, strings.TrimSpace(s), strings.Join(strings.Fields(s), " "),
			url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s),
			quoted[1:len(quoted)-1], string(inJSON[1:len(inJSON)-1]),
			strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, redacted)
	}
	return strings.NewReplacer(pairs...)
}

// clip shortens s to at most n bytes, between characters.
func clip(s string, n int) string {
	const more = "…"
	if len(s) <= n {
		return s
	}
	cut := n - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
