package uftp

import (
	"bytes"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // only to say that such keys cannot be used
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxPrivateKey bounds the text of a key; an RSA key of 16384 bits has 13 KiB.
const maxPrivateKey = 64 << 10

const makeNewKey = "make a new one with ssh-keygen -t ed25519"

// parsePrivateKey reads a private key in any of the formats people have. It
// never passes a parser's error on: they quote what they read.
func parsePrivateKey(text, passphrase []byte) (crypto.Signer, error) {
	if len(text) > maxPrivateKey {
		return nil, invalidAuthf("the private key is larger than %d bytes", maxPrivateKey)
	}
	// Secrets written by hand in YAML come with indented lines.
	block, _ := pem.Decode(trimLines(text))
	if block == nil {
		return nil, notPEM(text)
	}
	key, err := decodePrivateKey(block, passphrase)
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *dsa.PrivateKey:
		return nil, invalidAuthf("DSA keys cannot be used; %s", makeNewKey)
	case *ed25519.PrivateKey: // what the OpenSSH format is decoded to
		return *key, nil
	case crypto.Signer:
		return key, nil
	}
	return nil, invalidAuthf("this type of private key cannot be used; %s", makeNewKey)
}

// decodePrivateKey decrypts block, if need be, and decodes it.
func decodePrivateKey(block *pem.Block, passphrase []byte) (any, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		if len(passphrase) == 0 {
			return nil, errKeyEncrypted()
		}
		der, err := decryptPKCS8(block.Bytes, passphrase)
		if err != nil {
			return nil, err
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, errWrongPassphrase() // the padding was right by chance
		}
		return key, nil
	}
	text := pem.EncodeToMemory(block)
	key, err := ssh.ParseRawPrivateKey(text)
	if err == nil {
		return key, nil
	}
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); !encrypted {
		return nil, notDecoded(block)
	}
	if len(passphrase) == 0 {
		return nil, errKeyEncrypted()
	}
	key, err = ssh.ParseRawPrivateKeyWithPassphrase(text, passphrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errWrongPassphrase()
	}
	if err != nil {
		return nil, invalidAuthf("the private key cannot be decrypted: the passphrase is wrong, or it is of a type or encrypted in a way not known here")
	}
	return key, nil
}

func errKeyEncrypted() error { return invalidAuthf("the key is encrypted: give its passphrase") }

func errWrongPassphrase() error {
	return invalidAuthf("the passphrase of the private key is wrong")
}

// notPEM says what else the text may be.
func notPEM(text []byte) error {
	text = bytes.TrimSpace(text)
	starts := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if bytes.HasPrefix(text, []byte(p)) {
				return true
			}
		}
		return false
	}
	switch {
	case len(text) == 0:
		return invalidAuthf("the private key is empty")
	case starts("PuTTY-User-Key-File-"):
		return invalidAuthf("the private key is in PuTTY's format: convert it with puttygen KEY.ppk -O private-openssh -o KEY")
	case starts("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY", "---- BEGIN SSH2 PRIVATE KEY"):
		return invalidAuthf("the private key is in ssh.com's format: convert it with ssh-keygen -i -f KEY")
	case starts("ssh-", "ecdsa-sha2-", "sk-", "---- BEGIN SSH2 PUBLIC KEY"):
		return errPublicKey()
	case starts("-----BEGIN "):
		return invalidAuthf("the private key is damaged: it must be given with all its lines, from BEGIN to END")
	}
	return invalidAuthf("this is not a private key: it must start with -----BEGIN")
}

// notDecoded says why an unencrypted block that x/crypto refuses is of no use.
func notDecoded(block *pem.Block) error {
	switch {
	case strings.HasSuffix(block.Type, "PUBLIC KEY"):
		return errPublicKey()
	case strings.HasSuffix(block.Type, "CERTIFICATE"):
		return invalidAuthf("this is a certificate: give the private key")
	case strings.HasPrefix(block.Type, "DSA ") || openSSHKeyType(block.Bytes) == "ssh-dss":
		return invalidAuthf("DSA keys cannot be used; %s", makeNewKey)
	case strings.HasPrefix(openSSHKeyType(block.Bytes), "sk-"):
		return invalidAuthf("keys on a security token cannot be used, as somebody would have to touch it; %s", makeNewKey)
	case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return invalidAuthf("this is not a private key")
	}
	return invalidAuthf("the private key is damaged or of a type that cannot be used (RSA, Ed25519 and ECDSA can); %s", makeNewKey)
}

func errPublicKey() error {
	return invalidAuthf("this is a public key: give the private one, usually the file without .pub")
}

// openSSHKeyType reads the name of the key type from the public part of an
// OpenSSH private key, or returns "".
func openSSHKeyType(data []byte) string {
	data, ok := bytes.CutPrefix(data, []byte("openssh-key-v1\x00"))
	if !ok {
		return ""
	}
	var file struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public                  []byte
		Rest                    []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(data, &file) != nil {
		return ""
	}
	var public struct {
		Type string
		Rest []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(file.Public, &public) != nil {
		return ""
	}
	return public.Type
}

func trimLines(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	for i, l := range lines {
		lines[i] = bytes.TrimSpace(l)
	}
	return bytes.Join(lines, []byte("\n"))
}
