package uftp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what older OpenSSL versions wrote
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"
)

// maxPBKDF2Iterations keeps a crafted key from occupying a processor: a few
// seconds. OpenSSL's default is 2048.
const maxPBKDF2Iterations = 5_000_000

// pbes2 is the encryption of a PKCS#8 key (RFC 8018): the one format of ours
// that neither crypto/x509 nor x/crypto/ssh decrypts, and what "openssl genpkey"
// and "ssh-keygen -m PKCS8" write.
type pbes2 struct {
	salt       []byte
	iterations int
	hash       func() hash.Hash
	keyLen     int
	block      func(key []byte) (cipher.Block, error)
	iv         []byte
	data       []byte
}

// decryptPKCS8 returns the PrivateKeyInfo inside an EncryptedPrivateKeyInfo.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	p, err := parsePBES2(der)
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(p.hash, string(passphrase), p.salt, p.iterations, p.keyLen)
	if err != nil {
		return nil, invalidAuthf("the private key cannot be decrypted")
	}
	block, err := p.block(key)
	if err != nil {
		return nil, invalidAuthf("the private key cannot be decrypted")
	}
	plain := make([]byte, len(p.data))
	cipher.NewCBCDecrypter(block, p.iv).CryptBlocks(plain, p.data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > block.BlockSize() {
		return nil, errWrongPassphrase()
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, errWrongPassphrase()
		}
	}
	return plain[:len(plain)-pad], nil
}

// pbes2Cipher is the encryption scheme an object identifier stands for.
type pbes2Cipher struct {
	keyLen, blockSize int
	block             func(key []byte) (cipher.Block, error)
}

const (
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBKDF2 = "1.2.840.113549.1.5.12"
)

var (
	pbes2Hashes = map[string]func() hash.Hash{ //nolint:gochecknoglobals // a table
		"":                    sha1.New, // the default
		"1.2.840.113549.2.7":  sha1.New,
		"1.2.840.113549.2.9":  sha256.New,
		"1.2.840.113549.2.10": sha512.New384,
		"1.2.840.113549.2.11": sha512.New,
	}
	pbes2Ciphers = map[string]pbes2Cipher{ //nolint:gochecknoglobals // a table
		"1.2.840.113549.3.7":      {24, des.BlockSize, des.NewTripleDESCipher},
		"2.16.840.1.101.3.4.1.2":  {16, aes.BlockSize, aes.NewCipher},
		"2.16.840.1.101.3.4.1.22": {24, aes.BlockSize, aes.NewCipher},
		"2.16.840.1.101.3.4.1.42": {32, aes.BlockSize, aes.NewCipher},
	}
)

// parsePBES2 reads and checks everything there is to know before deriving a key.
func parsePBES2(der []byte) (*pbes2, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	var params struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	var kdf struct {
		Salt       []byte
		Iterations int
		KeyLen     int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	var iv []byte
	if !unmarshalASN1(der, &info) {
		return nil, invalidAuthf("the private key is damaged")
	}
	if info.Algorithm.Algorithm.String() != oidPBES2 ||
		!unmarshalASN1(info.Algorithm.Parameters.FullBytes, &params) ||
		params.KDF.Algorithm.String() != oidPBKDF2 {
		return nil, errUnknownEncryption()
	}
	scheme, known := pbes2Ciphers[params.Cipher.Algorithm.String()]
	if !known ||
		!unmarshalASN1(params.Cipher.Parameters.FullBytes, &iv) ||
		!unmarshalASN1(params.KDF.Parameters.FullBytes, &kdf) {
		return nil, errUnknownEncryption()
	}
	newHash, known := pbes2Hashes[kdf.PRF.Algorithm.String()]
	switch {
	case !known:
		return nil, errUnknownEncryption()
	case kdf.Iterations < 1 || kdf.Iterations > maxPBKDF2Iterations:
		return nil, invalidAuthf("the private key is encrypted with %d iterations, at most %d are accepted", kdf.Iterations, maxPBKDF2Iterations)
	case len(iv) != scheme.blockSize,
		len(info.Data) == 0 || len(info.Data)%scheme.blockSize != 0,
		kdf.KeyLen != 0 && kdf.KeyLen != scheme.keyLen:
		return nil, invalidAuthf("the private key is damaged")
	}
	return &pbes2{
		salt: kdf.Salt, iterations: kdf.Iterations, hash: newHash,
		keyLen: scheme.keyLen, block: scheme.block, iv: iv, data: info.Data,
	}, nil
}

func errUnknownEncryption() error {
	return invalidAuthf("the private key is encrypted in a way not known here: write it anew with ssh-keygen -p -f KEY")
}

func unmarshalASN1(der []byte, v any) bool {
	rest, err := asn1.Unmarshal(der, v)
	return err == nil && len(rest) == 0
}
