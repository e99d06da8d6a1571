package uftptest_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// A closed server has left no goroutine and no listening socket behind, even if
// its clients are still there.
func TestClose(t *testing.T) {
	ignored := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignored) }) // the last one to run
	s, err := uftptest.New(uftptest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	client := httpClient(t, s)
	cred := obtain(t, s, emptyPath)
	ftp, reply := cred.login(t)
	mustReply(t, "PASS", reply, "230 ")
	for range 2 { // the second time does nothing
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if line, err := ftp.lines.ReadString('\n'); err == nil {
		t.Errorf("the session got %q", line)
	}
	if _, err := login(s, demo, emptyPath).try(t, client); err == nil {
		t.Error("the auth service answers")
	}
	address := net.JoinHostPort(cred.Host, strconv.Itoa(cred.Port))
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
		_ = conn.Close()
		t.Error("the control port is open")
	}
}

// All sockets, those for data too, come from Config.Listen.
func TestListen(t *testing.T) {
	var mu sync.Mutex
	var addresses []string
	s := uftptest.Start(t, uftptest.Config{
		Listen: func(ctx context.Context, network, address string) (net.Listener, error) {
			mu.Lock()
			defer mu.Unlock()
			addresses = append(addresses, network+" "+address)
			return (&net.ListenConfig{}).Listen(ctx, network, address)
		},
	})
	ftp, reply := obtain(t, s, emptyPath).login(t)
	mustReply(t, "PASS", reply, "230 ")
	mustReply(t, "EPSV", ftp.do("EPSV"), "229 ")
	mu.Lock()
	defer mu.Unlock()
	if len(addresses) != 3 {
		t.Errorf("listened at %q, want three addresses", addresses)
	}
	for _, a := range addresses {
		if !strings.HasPrefix(a, "tcp") || !strings.Contains(a, " 127.0.0.1:") {
			t.Errorf("listened at %s", a)
		}
	}
}
