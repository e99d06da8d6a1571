package uftptest

import (
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// GET and PUT of /rest/access/NAME/ID[/PATH]: what is shared, over HTTPS. The real
// service has UFTPD read and write it; this one does so itself.

func (a *authService) routeSharesHTTP(mux *http.ServeMux) {
	for _, at := range []string{"/rest/access/{server}/{id}", "/rest/access/{server}/{id}/{path...}"} {
		mux.HandleFunc("GET "+at, a.identified(a.shared(a.sendShared)))
		mux.HandleFunc("PUT "+at, a.identified(a.shared(a.storeShared)))
	}
}

// shared finds what a request is for and lets next do it, if the client may.
func (a *authService) shared(next func(w http.ResponseWriter, r *http.Request, name string)) answerer {
	return func(w http.ResponseWriter, r *http.Request, id identity) {
		if _, ok := a.instance(r.PathValue("server")); !ok {
			writeError(w, http.StatusNotFound, fmt.Sprintf("No server or no data sharing for '%s'", r.PathValue("server")))
			return
		}
		if a.probe(r.Context()).up == 0 {
			writeError(w, http.StatusServiceUnavailable, "DOWN")
			return
		}
		s, ok := a.shares.get(r.PathValue("id"))
		if !ok {
			writeError(w, http.StatusNotFound, fmt.Sprintf("No such share '%s'", r.PathValue("id")))
			return
		}
		_, mine := forTarget([]share{s}, comparableDN(id.dn()))
		if !mine || r.Method == http.MethodPut && s.access != "WRITE" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		name := s.path
		if below := r.PathValue("path"); below != "" {
			if name = path.Join(s.path, below); !s.directory() || !s.covers(name) {
				writeError(w, http.StatusNotFound, "Not a directory")
				return
			}
		}
		defer a.shares.used(s) // as there: a broken transfer counts too
		next(w, r, name)
	}
}

// sendShared sends a file, or a page about a directory.
func (a *authService) sendShared(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(name) //nolint:gosec // shared covers it
	if err != nil {
		writeSharedError(w, err)
		return
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	switch {
	case err != nil:
		writeSharedError(w, err)
		return
	case fi.IsDir():
		a.listShared(w, r, f)
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+fi.Name()+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	length := fi.Size()
	status := http.StatusOK
	if header := r.Header.Get("Range"); header != "" {
		first, n, ok := parseHTTPRange(header)
		if !ok {
			writeError(w, http.StatusInternalServerError, "Range header "+header+" cannot be parsed")
			return
		}
		status = http.StatusPartialContent
		// The end is wrong, as there; and so is what comes when none was given.
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, n+1, fi.Size()))
		if n < 0 {
			panic(http.ErrAbortHandler)
		}
		length = max(0, min(n, fi.Size()-first))
		if _, err := f.Seek(first, io.SeekStart); err != nil {
			writeSharedError(w, err)
			return
		}
	}
	w.WriteHeader(status)
	flush(w) // from here on it is chunked: the length is not told
	if fault, ok := r.Context().Value(faultKey{}).(AuthFault); ok && fault.Cut > 0 && fault.Cut < length {
		_, _ = io.CopyN(w, f, fault.Cut)
		flush(w)
		panic(http.ErrAbortHandler)
	}
	_, _ = io.CopyN(w, f, length) // who has gone is no concern of ours
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// parseHTTPRange reads "bytes=FIRST-[LAST]"; n is -1 without LAST.
func parseHTTPRange(header string) (first, n int64, ok bool) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, _ := strings.Cut(spec, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !ok || err != nil || first < 0 {
		return 0, 0, false
	}
	if to == "" {
		return first, -1, true
	}
	last, err := strconv.ParseInt(to, 10, 64)
	return first, last + 1 - first, err == nil && last >= first
}

// listShared writes a directory as a page with links.
func (a *authService) listShared(w http.ResponseWriter, r *http.Request, dir *os.File) {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		writeSharedError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	base := a.baseURL() + strings.TrimSuffix(r.URL.Path, "/") + "/"
	fmt.Fprintln(w, "<table><tr><th>Name</th></tr>")
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		name = html.EscapeString(name)
		fmt.Fprintf(w, "<tr><td><a href=\"%s\">%s</a></td></tr>\n", html.EscapeString(base)+name, name) // not escaped for a URL, as there
	}
	fmt.Fprintln(w, "</table>")
}

// storeShared replaces a file's content.
func (a *authService) storeShared(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // shared covers it; the umask decides
	if err != nil {
		writeSharedError(w, err)
		return
	}
	var body io.Reader = r.Body
	if fault, ok := r.Context().Value(faultKey{}).(AuthFault); ok && fault.Cut > 0 {
		body = io.LimitReader(body, fault.Cut) // the rest is lost, and nobody says so
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err != nil {
		writeSharedError(w, err)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusOK)
}

// writeSharedError says what UFTPD would have said.
func writeSharedError(w http.ResponseWriter, err error) {
	text := err.Error()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = "550 [Errno 2] No such file or directory"
	case errors.Is(err, fs.ErrPermission):
		text = "500 [Errno 13] Permission denied"
	}
	writeError(w, http.StatusInternalServerError, "Error: "+text)
}
