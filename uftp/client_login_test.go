package uftp

import (
	"testing"
	"time"
)

// A request to the auth service that hangs must not take all the time that
// operations have, and a slow auth service must not be given up too early.
func TestAuthTime(t *testing.T) {
	for _, c := range []struct{ http, io, want time.Duration }{
		{0, DefaultIOTimeout, defaultHTTPTimeout},
		{0, time.Minute, 30 * time.Second},
		{0, time.Second, minAuthTime},
		{time.Minute, time.Second, time.Minute},
	} {
		client, err := New(Config{AuthURL: "https://localhost/rest/auth/TEST", HTTPTimeout: c.http, IOTimeout: c.io})
		if err != nil {
			t.Fatal(err)
		}
		if got := client.authTime(); got != c.want {
			t.Errorf("HTTPTimeout %v, IOTimeout %v: %v, want %v", c.http, c.io, got, c.want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
