package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"berth/base/fault"
)

// maxKeyFile is the most bytes of a key file that are looked at.
const maxKeyFile = 64 << 10

// ParsePublicKey reads a PEM public key (PKIX) for ECDSA on P-256 or Ed25519,
// as cosign's cosign.pub and openssl pkey -pubout are. Errors: Invalid,
// Unsupported for other keys.
func ParsePublicKey(raw []byte) (crypto.PublicKey, error) {
	b, err := block(raw)
	if err != nil {
		return nil, err
	}
	if b.Type != "PUBLIC KEY" {
		return nil, fault.New(fault.Invalid, "it is a %.60q, not a PUBLIC KEY", b.Type)
	}
	key, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return key, supported(key)
}

// ParsePrivateKey reads a PEM private key: PKCS #8 or SEC 1, not encrypted.
// Errors: Invalid, Unsupported for other and for encrypted keys.
func ParsePrivateKey(raw []byte) (crypto.Signer, error) {
	b, err := block(raw)
	if err != nil {
		return nil, err
	}
	var key any
	switch {
	case strings.Contains(b.Type, "ENCRYPTED") || b.Headers["DEK-Info"] != "":
		return nil, fault.New(fault.Unsupported, "it is encrypted (%.60q): only plain PEM keys are read", b.Type)
	case b.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case b.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		return nil, fault.New(fault.Invalid, "it is a %.60q, not a PRIVATE KEY", b.Type)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fault.New(fault.Unsupported, "a %T does not sign", key)
	}
	return s, supported(s.Public())
}

// NewKey makes a key pair, ECDSA on P-256, as PEM texts.
func NewKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), nil
}

// block finds the one PEM block of a key file; openssl writes the parameters
// of a curve before it.
func block(raw []byte) (*pem.Block, error) {
	if len(raw) > maxKeyFile {
		return nil, fault.New(fault.Invalid, "a key of %d bytes", len(raw))
	}
	for {
		b, rest := pem.Decode(raw)
		if b == nil {
			return nil, fault.New(fault.Invalid, "it holds no PEM key")
		}
		if b.Type != "EC PARAMETERS" {
			return b, nil
		}
		raw = rest
	}
}

func supported(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
		return fault.New(fault.Unsupported, "an ECDSA key on %s: only P-256 is supported", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	}
	return fault.New(fault.Unsupported, "a key of type %T: only ECDSA P-256 and Ed25519 are supported", key)
}

// sign signs a payload: ECDSA its SHA-256, Ed25519 the payload itself.
func sign(key crypto.Signer, payload []byte) ([]byte, error) {
	if err := supported(key.Public()); err != nil {
		return nil, err
	}
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		return key.Sign(rand.Reader, payload, crypto.Hash(0))
	}
	sum := sha256.Sum256(payload)
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// holds says whether a signature of a payload is by a key.
func holds(key crypto.PublicKey, payload, signature []byte) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(payload)
		return ecdsa.VerifyASN1(k, sum[:], signature)
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, payload, signature)
	}
	return false
}
