package volume_test

import (
	"errors"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

func TestCodingAttributes(t *testing.T) {
	const url = "https://h/rest/auth/N"
	for _, tt := range []struct {
		name  string
		attrs map[string]string
		ok    bool
	}{
		{"encrypted and compressed", map[string]string{"authURL": url, "encryption": "aes", "compress": "true"}, true},
		{"compressed streams", map[string]string{"authURL": url, "streams": "4", "compress": "true"}, true},
		{"encrypted streams", map[string]string{"authURL": url, "encryption": "blowfish", "streams": "2"}, false},
		{"encryption without a key", map[string]string{"server": "h:1", "encryption": "aes"}, false},
		{"unknown cipher", map[string]string{"authURL": url, "encryption": "rot13"}, false},
		{"no streams", map[string]string{"authURL": url, "streams": "0"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := volume.Parse(tt.attrs)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, volume.ErrInvalid) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
