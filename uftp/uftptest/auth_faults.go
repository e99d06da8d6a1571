package uftptest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An AuthFault is one way for the auth service to fail a request. Fields combine
// where that makes sense: a Delay goes before any of the others.
type AuthFault struct {
	// Path limits the fault to requests whose URL path starts with it, such as
	// "/oauth/". Default: every path.
	Path string

	Delay time.Duration // wait before going on
	Stall bool          // say nothing until the client gives up or the server closes
	Close bool          // drop the connection without an answer

	Status      int    // answer with this status, and the three fields below
	Body        string // default, for Status 400 and above: error JSON
	ContentType string // default application/json
	Location    string // for a redirect

	// Failure answers a request for a one-time password with HTTP 200,
	// "success":false and this reason, as old servers do.
	Failure string
	// Host and Port replace the true ones in the answer to such a request.
	Host string
	Port int
	// Secret replaces the true one-time password in the answer.
	Secret string

	// Cut ends the download of a shared file over HTTPS after as many bytes, or
	// drops the rest of an upload.
	Cut int64
}

// replies reports whether the request goes no further than f.
func (f AuthFault) replies() bool { return f.Stall || f.Close || f.Status != 0 }

// AuthFaults are the faults that an auth service has been told to show. With
// none it works.
type AuthFaults struct {
	mu      sync.Mutex
	pending []pendingFault
}

type pendingFault struct {
	AuthFault
	left int // requests, negative for all
}

// Inject makes the next n requests that match fail with f, or all of them, until
// [AuthFaults.Clear], if n is negative. Faults take turns in the order they were
// injected in: the second one waits until the first one is used up.
func (a *AuthFaults) Inject(n int, f AuthFault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n != 0 {
		a.pending = append(a.pending, pendingFault{f, n})
	}
}

// Clear forgets all faults. Requests that stall already go on stalling.
func (a *AuthFaults) Clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = nil
}

// next takes the fault for a request of path; the zero fault is none.
func (a *AuthFaults) next(path string) AuthFault {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.pending {
		f := &a.pending[i]
		if !strings.HasPrefix(path, f.Path) {
			continue
		}
		fault := f.AuthFault
		if f.left > 0 {
			if f.left--; f.left == 0 {
				a.pending = append(a.pending[:i:i], a.pending[i+1:]...)
			}
		}
		return fault
	}
	return AuthFault{}
}

// show lets f act on a request. It reports whether the request is done with.
func (f AuthFault) show(w http.ResponseWriter, r *http.Request) bool {
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
	}
	if !f.replies() {
		return false
	}
	// net/http notices that a client has gone only once the body has been read.
	_, _ = io.Copy(io.Discard, r.Body)
	switch {
	case f.Stall:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Close:
		panic(http.ErrAbortHandler)
	}
	if f.Location != "" {
		w.Header().Set("Location", f.Location)
	}
	if f.Body == "" && f.Status >= http.StatusBadRequest {
		writeError(w, f.Status, "injected fault")
		return true
	}
	contentType := f.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body)
	return true
}
