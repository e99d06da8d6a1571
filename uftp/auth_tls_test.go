package uftp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
)

// testCA signs server certificates.
type testCA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newTestCA(t testing.TB) testCA {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return testCA{key, must[*x509.Certificate](t)(x509.ParseCertificate(der))}
}

func (ca testCA) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// serve serves h with a certificate for 127.0.0.1 that change may spoil.
func (ca testCA) serve(t testing.TB, h http.Handler, change func(*x509.Certificate)) *httptest.Server {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	change(template)
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key))
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestAuthenticateTLS(t *testing.T) {
	ca, other := newTestCA(t), newTestCA(t)
	good := func(*x509.Certificate) {}
	tests := []struct {
		name     string
		change   func(*x509.Certificate)
		bundle   []byte
		insecure bool
		want     string // in the error, "" for none
	}{
		{"good", good, ca.pem(), false, ""},
		{"one CA of two", good, append(other.pem(), ca.pem()...), false, ""},
		{"system roots", good, nil, false, "ca.crt / --ca-file"},
		{"other CA", good, other.pem(), false, "ca.crt / --ca-file"},
		{"other host", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"a.example"} }, ca.pem(), false, "for another host"},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, ca.pem(), false, "expired"},
		{"insecure", func(c *x509.Certificate) { c.IPAddresses = nil }, nil, true, ""},
		{"insecure with a CA", good, other.pem(), true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reached := false
			server := ca.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				reached = true
				reply(http.StatusOK, nil, goodReply)(w, r)
			}), tt.change)
			_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{
				AuthURL: server.URL + "/rest/auth/TEST", Insecure: tt.insecure, Access: uftp.Access{CABundle: tt.bundle},
			})
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, uftp.ErrUntrusted) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want ErrUntrusted with %q", err, tt.want)
			}
			if reached {
				t.Error("the request was sent")
			}
		})
	}
}

func TestAuthenticateNoTLS(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	url := strings.Replace(server.URL, "http://", "https://", 1) + "/rest/auth/TEST"
	_, err := uftp.Authenticate(t.Context(), uftp.AuthRequest{AuthURL: url})
	if !errors.Is(err, uftp.ErrUnavailable) || errors.Is(err, uftp.ErrUntrusted) || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("error is %v, want ErrUnavailable that says the server does not speak TLS", err)
	}
}
