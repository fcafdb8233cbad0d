package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"strings"
)

const (
	prefix        = "wb_" // a token
	sessionPrefix = "ws_" // a session's cookie
	invitePrefix  = "wi_" // an invitation

	bodySize  = 43 // 256 bits in base 62
	checkSize = 6  // 32 bits in base 62

	redacted = "[redacted]"

	// maxHeader bounds what is decoded before anybody is known.
	maxHeader = 1024
)

// Secret is a token as its owner holds it. It prints, logs and encodes as
// "[redacted]"; [Secret.Reveal] is the one way to see it.
//
// The text hangs on a pointer: what prints a structure with an unexported
// Secret in it cannot call its methods, and shows an address.
type Secret struct{ text *string }

// Reveal returns the token itself, to be shown once to its owner.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (s Secret) hash() string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:])
}

func newSecret() Secret { return newSecretOf(prefix) }

func newSecretOf(prefix string) Secret {
	var random [32]byte
	rand.Read(random[:]) // it never fails: the program ends if the system has no randomness
	text := prefix + base62(random[:], bodySize)
	text += checksum(text)
	return Secret{&text}
}

// parseSecret accepts what newSecret makes.
func parseSecret(text string) (Secret, error) { return parseSecretOf(prefix, text) }

func parseSecretOf(prefix, text string) (Secret, error) {
	if len(text) != len(prefix)+bodySize+checkSize || !strings.HasPrefix(text, prefix) {
		return Secret{}, ErrMalformed
	}
	body := text[:len(text)-checkSize]
	if checksum(body) != text[len(body):] {
		return Secret{}, ErrMalformed
	}
	return Secret{&text}, nil
}

// checksum finds typing errors; it is no secret and protects against nobody.
func checksum(text string) string {
	return base62(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(text))), checkSize)
}

// base62 writes a number in letters and digits, which a double click selects
// and no shell, URL or YAML file changes.
func base62(number []byte, size int) string {
	text := new(big.Int).SetBytes(number).Text(62)
	return strings.Repeat("0", size-len(text)) + text
}

// parseHeader takes the token out of the value of an Authorization header.
func parseHeader(header string) (Secret, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case scheme == "":
		return Secret{}, ErrNoCredentials
	case len(rest) > maxHeader:
		return Secret{}, ErrMalformed
	case strings.EqualFold(scheme, "Bearer"):
		return parseSecret(rest)
	case strings.EqualFold(scheme, "Basic"):
		decoded, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return Secret{}, ErrMalformed
		}
		_, password, _ := strings.Cut(string(decoded), ":")
		return parseSecret(password)
	}
	return Secret{}, ErrNoCredentials
}
