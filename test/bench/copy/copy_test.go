package copy_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

const smallSize = 10 << 10

// world is a server, and the files to move.
type world struct {
	server *uftptest.Server
	local  string // where copies go
	binary string
	ca     string
	files  int
	big    int64
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// setting is a number from the environment.
func setting(tb testing.TB, name string, otherwise int64) int64 {
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	check(tb, err)
	return n
}

func newWorld(b *testing.B) *world {
	b.Helper()
	w := &world{
		local: b.TempDir(), binary: filepath.Join(b.TempDir(), "csi-uftp"),
		files: int(setting(b, "COPY_FILES", 10_000)), big: setting(b, "COPY_BIG", 4<<30),
	}
	build := exec.CommandContext(b.Context(), "go", "build", "-o", w.binary, "../../../cmd/csi-uftp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	cfg := uftptest.Config{MaxConnections: 100}
	if os.Getenv("UFTPD_DIR") != "" {
		w.server = uftptest.StartReal(b, cfg)
	} else {
		w.server = uftptest.Start(b, cfg)
		delay, err := time.ParseDuration(cmp.Or(os.Getenv("COPY_DELAY"), "0s"))
		check(b, err)
		w.server.Faults().SetLink(uftptest.Link{Delay: delay})
	}
	w.ca = filepath.Join(w.local, "ca.pem")
	check(b, os.WriteFile(w.ca, w.server.CABundle(), 0o600))
	w.fill(b, filepath.Join(w.server.Dir(), "src"))
	w.fill(b, filepath.Join(w.local, "src"))
	w.server.Chown(b)
	return w
}

// fill makes the files.
func (w *world) fill(b *testing.B, dir string) {
	b.Helper()
	check(b, os.MkdirAll(filepath.Join(dir, "small"), 0o755))
	random := rand.NewChaCha8([32]byte{})
	buf := make([]byte, 8<<20)
	for i := range w.files {
		_, _ = random.Read(buf[:smallSize])
		check(b, os.WriteFile(filepath.Join(dir, "small", fmt.Sprintf("f%05d", i)), buf[:smallSize], 0o644))
	}
	f, err := os.Create(filepath.Join(dir, "big"))
	check(b, err)
	_, _ = random.Read(buf)
	for left := w.big; left > 0; left -= int64(len(buf)) {
		_, err := f.Write(buf[:min(left, int64(len(buf)))])
		check(b, err)
	}
	check(b, f.Close())
}

// ours runs csi-uftp cp.
func (w *world) ours(b *testing.B, from, to string) *exec.Cmd {
	cmd := exec.CommandContext(b.Context(), w.binary, "cp", "-r", "--ca-file", w.ca, from, to)
	cmd.Env = append(os.Environ(), "UFTP_USER="+uftptest.DefaultUserName, "UFTP_PASSWORD="+uftptest.DefaultUserPassword)
	return cmd
}

// pyuftp runs pyuftp cp, with as many sessions.
func pyuftp(b *testing.B, from, to string) *exec.Cmd {
	program := filepath.Join(os.Getenv("UFTP_PYCLIENTS"), "bin", "pyuftp")
	if _, err := os.Stat(program); err != nil {
		b.Skip("there is no pyuftp in $UFTP_PYCLIENTS: see test/pyclients.sh")
	}
	cmd := exec.CommandContext(b.Context(), program, "cp", "-r", "-t", "4",
		"-u", uftptest.DefaultUserName+":"+uftptest.DefaultUserPassword, from, to)
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "PYTHONWARNINGS=ignore")
	return cmd
}

func BenchmarkCopy(b *testing.B) {
	w := newWorld(b)
	remote := w.server.AuthURL() + ":" + w.server.Dir() + "/"
	for _, kind := range []string{"small", "big"} {
		for _, direction := range []string{"down", "up"} {
			for _, program := range []string{"csi-uftp", "pyuftp"} {
				b.Run(kind+"/"+direction+"/"+program, func(b *testing.B) {
					// Each copy goes to a place of its own; directories have to be there for pyuftp.
					name := kind + "-" + program
					from, to, target := remote+"src/"+kind, filepath.Join(w.local, name), filepath.Join(w.local, name)
					if direction == "up" {
						from, to, target = filepath.Join(w.local, "src", kind), remote+name, filepath.Join(w.server.Dir(), name)
					}
					if kind == "small" {
						check(b, os.Mkdir(target, 0o755))
						w.server.Chown(b)
						to += "/"
					}
					if program == "pyuftp" && kind == "small" {
						from += "/*"
					}
					for b.Loop() {
						cmd := w.ours(b, from, to)
						if program == "pyuftp" {
							cmd = pyuftp(b, from, to)
						}
						if out, err := cmd.CombinedOutput(); err != nil {
							b.Fatalf("%v\n%s", err, out)
						}
					}
					w.report(b, kind, target)
				})
			}
		}
	}
}

// report gives the figures, checks that everything is there, and makes room.
func (w *world) report(b *testing.B, kind, target string) {
	b.Helper()
	took := b.Elapsed().Seconds() / float64(b.N)
	if kind == "small" {
		b.ReportMetric(float64(w.files)/took, "files/s")
	} else {
		b.ReportMetric(float64(w.big)/1e6/took, "MB/s")
	}
	var files int
	var size int64
	check(b, filepath.Walk(target, func(_ string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			files++
			size += fi.Size()
		}
		return err
	}))
	wantFiles, wantSize := w.files, int64(w.files)*smallSize
	if kind == "big" {
		wantFiles, wantSize = 1, w.big
	}
	if files != wantFiles || size != wantSize {
		b.Errorf("%d files with %d bytes, want %d with %d", files, size, wantFiles, wantSize)
	}
	check(b, os.RemoveAll(target))
}
