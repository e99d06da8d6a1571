package uftptest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata/conformance from the real UFTPD (needs "+EnvUFTPD+")")

// TestConformance plays the dialogues in testdata/conformance to the server of
// this package and to the real one. What each answers must be what is written
// there, and what is written there was said by the real one (-update).
//
// A dialogue is a text file. Lines that begin with a word and a colon are what
// was seen; all others are what to do, see [player]. A file whose first line is
// "# unprivileged" is about permissions and means nothing to root; "# limit N"
// sets the limit of sessions.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel() // they mostly wait for Nagle's algorithm
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{MaxConnections: 100, Location: time.FixedZone("CONF", 3600)}
			if m := regexp.MustCompile(`(?m)^# limit (\d+)$`).FindStringSubmatch(string(text)); m != nil {
				cfg.MaxConnections, _ = strconv.Atoi(m[1])
			}
			Each(t, cfg, func(t *testing.T, s *Server) {
				if !s.Real() && os.Geteuid() == 0 && strings.HasPrefix(string(text), "# unprivileged\n") {
					t.Skip("root may do everything")
				}
				got := play(t, s, string(text))
				if *update && s.Real() {
					if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
					return
				}
				if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" && !*update {
					t.Errorf("%s (-written, +seen):\n%s", file, diff)
				}
			})
		})
	}
}

// Dialogues in which one of the commands that the engine knows does not occur
// would leave its replies unproven.
func TestConformanceIsComplete(t *testing.T) {
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for verb := range handlers {
		if !regexp.MustCompile(`(?m)^C[:&] ` + regexp.QuoteMeta(verb) + `\b`).MatchString(all.String()) {
			t.Errorf("no dialogue has %s", verb)
		}
	}
}
