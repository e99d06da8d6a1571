package uftptest

import "testing"

// Each runs f against each kind of server there is, as the subtests "uftptest"
// ([Start]) and "uftpd" ([StartReal], skipped where that is). Tests that write
// into the served directory themselves use [Server.WriteFile] or [Server.Chown],
// because the real server runs its sessions as another Unix user.
func Each(t *testing.T, cfg Config, f func(t *testing.T, s *Server)) {
	t.Helper()
	t.Run("uftptest", func(t *testing.T) { f(t, Start(t, cfg)) })
	t.Run("uftpd", func(t *testing.T) { f(t, StartReal(t, cfg)) })
}
