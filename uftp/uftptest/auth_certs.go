package uftptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificates of the auth service: a CA of its own and a server certificate,
// whose key also signs the tokens that the service issues.
type certificates struct {
	caPEM     []byte
	serverPEM []byte
	server    *x509.Certificate
	key       crypto.Signer
	tls       tls.Certificate
}

// dn is the service's distinguished name, the issuer of its tokens.
func (c *certificates) dn() string { return c.server.Subject.String() }

// certValidity is short enough for clients that refuse long-lived server
// certificates.
const certValidity = 365 * 24 * time.Hour

// newCertificates makes certificates for the usual loopback names and hosts
// (names or addresses).
func newCertificates(hosts []string) (map[string][]byte, error) {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "uftptest CA", Organization: []string{"uftptest"}},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certValidity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1),
		Subject:      pkix.Name{CommonName: "uftptest auth service", Organization: []string{"uftptest"}},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, h)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
	}{{"ca", ca, caKey}, {"server", server, serverKey}} {
		der, err := x509.CreateCertificate(rand.Reader, c.cert, ca, c.key.Public(), caKey)
		if err != nil {
			return nil, err
		}
		key, err := x509.MarshalPKCS8PrivateKey(c.key)
		if err != nil {
			return nil, err
		}
		files[c.name+".crt"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		files[c.name+".key"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	}
	return files, nil
}

// loadCertificates makes certificates or, given a directory, keeps them there.
func loadCertificates(dir string, hosts []string) (*certificates, error) {
	files := map[string][]byte{}
	for _, name := range []string{"ca.crt", "server.crt", "server.key"} {
		if dir == "" {
			break
		}
		text, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // the caller's own directory
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	if len(files) < 3 {
		var err error
		if files, err = newCertificates(hosts); err != nil {
			return nil, fmt.Errorf("make certificates: %w", err)
		}
		if dir != "" {
			if err := writeFiles(dir, files); err != nil {
				return nil, err
			}
		}
	}
	pair, err := tls.X509KeyPair(files["server.crt"], files["server.key"])
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("server key: %T, want ECDSA", pair.PrivateKey)
	}
	return &certificates{caPEM: files["ca.crt"], serverPEM: files["server.crt"], server: pair.Leaf, key: key, tls: pair}, nil
}

func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		mode := fs.FileMode(0o644)
		if filepath.Ext(name) == ".key" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, mode); err != nil {
			return err
		}
	}
	return nil
}
