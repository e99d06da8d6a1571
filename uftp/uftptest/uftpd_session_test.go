package uftptest

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Many sessions at once read and write, and none sees another's bytes.
func TestManySessions(t *testing.T) {
	const sessions, transfers, size = 24, 6, 300_000
	s := Start(t, Config{MaxConnections: sessions})
	whole := pattern(size * 2)
	s.WriteFile(t, "f", whole)
	var wg sync.WaitGroup
	for i := range sessions {
		p := &player{tb: t, s: s, secrets: 1000 * i}
		defer p.close()
		p.line("@ session")
		p.line("C: KEEP-ALIVE true")
		p.line("C: EPSV")
		wg.Go(func() {
			for n := range transfers {
				off := (i*transfers + n) * 1000
				p.write(fmt.Sprintf("RANG %d %d\r\nRETR f\r\nRANG 0 %d\r\nSTOR g%d\r\n", off, off+size, size, i))
				got := make([]byte, size)
				if _, err := io.ReadFull(p.ctrl.data[0], got); err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(got, whole[off:off+size]) {
					t.Errorf("session %d got wrong bytes", i)
				}
				if _, err := p.ctrl.data[0].Write(got); err != nil {
					t.Error(err)
					return
				}
				for range 6 {
					if line := p.reply()[0]; line[0] == '5' {
						t.Error(line)
					}
				}
			}
		})
	}
	wg.Wait()
	st := s.Stats()
	if st.PeakSessions != sessions || st.BytesSent != sessions*transfers*size || st.BytesReceived != st.BytesSent {
		t.Errorf("%+v", st)
	}
}

// Close ends whatever is going on, and leaves no goroutine behind.
func TestCloseLeavesNothing(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	s, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.WriteFile(t, "big", make([]byte, 50_000_000))
	begin := func(secrets int, lines ...string) {
		p := &player{tb: t, s: s, secrets: secrets}
		t.Cleanup(p.close)
		p.line("@ session")
		p.ctrl.silent = true
		for _, line := range lines {
			p.line(line)
		}
	}
	begin(100)            // idle
	begin(200, "C: EPSV") // in accept
	s.Faults().SetLink(Link{Delay: time.Millisecond, Bandwidth: 1_000_000})
	busy := &player{tb: t, s: s, secrets: 400}
	defer busy.close()
	for _, line := range []string{"@ session", "C: EPSV", "C: RETR big"} { // slow
		busy.line(line)
	}
	s.Faults().Inject(-1, Fault{Stall: true})
	s.Faults().Inject(-1, Fault{Verb: FaultConnect, Stall: true})
	stalled := busy.dial(s.engine.port)
	defer func() { _ = stalled.Close() }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, leaks)
}
