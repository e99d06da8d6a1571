package volume

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		host, secret, namespace bool
	}{
		{"a", true, true, true},
		{"team-a", true, true, true},
		{"0", true, true, true},
		{"my.secret", true, true, false},
		{"ftp_1.example.org", true, false, false},
		{"UFTP.example.org", true, false, false},
		{strings.Repeat("n", 63), true, true, true},
		{strings.Repeat("n", 64), true, true, false},
		{strings.Repeat("n", 253), true, true, false},
		{strings.Repeat("n", 254), false, false, false},
		{"", false, false, false},
		{"-a", false, false, false},
		{"a-", false, false, false},
		{"a.", false, false, false},
		{"a b", false, false, false},
		{"a/b", false, false, false},
		{"a\n", false, false, false},
		{"é", false, false, false},
	} {
		if got := isHostName(tt.name); got != tt.host {
			t.Errorf("isHostName(%q) = %v", tt.name, got)
		}
		if err := checkSecretName(tt.name); (err == nil) != tt.secret {
			t.Errorf("checkSecretName(%q): %v", tt.name, err)
		}
		if err := checkNamespace(tt.name); (err == nil) != tt.namespace {
			t.Errorf("checkNamespace(%q): %v", tt.name, err)
		}
	}
}
