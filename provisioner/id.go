package provisioner

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// maxID is CSI's limit for a volume id, in bytes.
const maxID = 128

const (
	idVersion = "u1"
	idSep     = "#"
	scheme    = "https://"
)

// volumeID is all that DeleteVolume needs to know, because nothing else arrives
// there but credentials. It is printable ASCII and holds no secret:
//
//	u1#d#auth.example.org:9000/rest/auth/TEST#data/volumes#pvc-6f1c…
//
// These are version, policy and options, auth URL without https://, base
// directory, directory. Options follow the policy after commas.
type volumeID struct {
	spec      volume.Spec // the place: what idOptions lists, AuthURL and, as Path, the base
	onDelete  volume.OnDelete
	directory string
}

// policies are the first letters of the second field.
var policies = []struct { //nolint:gochecknoglobals // a table
	letter string
	policy volume.OnDelete
}{{"d", volume.Delete}, {"r", volume.Retain}, {"a", volume.Archive}}

// idOptions are the attributes without which the server is not reached as it was
// when the volume was made, and that few volumes have.
var idOptions = []struct{ letter, attribute string }{ //nolint:gochecknoglobals // a table
	{"i", "insecureSkipVerify"}, {"g", "group"}, {"c", "clientAddress"}, {"s", "secretName"}, {"n", "secretNamespace"},
}

// newID returns the id for a claim, or an error that says what to shorten.
func newID(c volume.Claim) (volumeID, error) {
	id := volumeID{spec: c.Spec, onDelete: c.OnDelete, directory: directoryName(cmp.Or(c.Directory, c.Name))}
	if url := id.spec.AuthURL; len(url) >= len(scheme) && strings.EqualFold(url[:len(scheme)], scheme) {
		id.spec.AuthURL = scheme + url[len(scheme):] // it may be written HTTPS://
	}
	if n := len(id.String()); n > maxID {
		return volumeID{}, fmt.Errorf("%w: the volume's id would have %d bytes, and CSI allows %d: shorten path (%d bytes) or authURL (%d bytes) by %d, by a link on the server or another name of the host",
			volume.ErrInvalid, n, maxID, len(c.Spec.Path), len(c.Spec.AuthURL), n-maxID)
	}
	return id, nil
}

func (id volumeID) String() string {
	var first string
	for _, p := range policies {
		if p.policy == id.onDelete {
			first = p.letter
		}
	}
	for _, o := range idOptions {
		a, _ := volume.Lookup(o.attribute) // the tests look each of them up
		switch v := a.Get(id.spec); {
		case v == a.Default:
		case a.IsBool():
			first += "," + o.letter
		default:
			first += "," + o.letter + "=" + escape(v, ",")
		}
	}
	return strings.Join([]string{idVersion, first, escape(strings.TrimPrefix(id.spec.AuthURL, scheme), ""), escape(id.spec.Path, ""), id.directory}, idSep)
}

// later are the ids of versions to come: to take them for nobody's would be to
// report a volume deleted that is not.
var later = regexp.MustCompile(`^u[0-9]+#`)

// parseID reads an id. Everything that newID could not have made is
// fs.ErrNotExist: static volumes have ids of any form.
func parseID(s string) (volumeID, error) {
	foreign := fmt.Errorf("volume id %q: not of this driver's making: %w", s, fs.ErrNotExist)
	fields := strings.Split(s, idSep)
	if fields[0] != idVersion && later.MatchString(s) {
		return volumeID{}, fmt.Errorf("volume id %q was made by another version of this driver, which must delete it", s)
	}
	if fields[0] != idVersion || len(fields) != 5 || len(s) > maxID {
		return volumeID{}, foreign
	}
	policy, options, _ := strings.Cut(fields[1], ",")
	id := volumeID{directory: fields[4]}
	for _, p := range policies {
		if p.letter == policy {
			id.onDelete = p.policy
		}
	}
	attributes, ok := parseOptions(options)
	auth, ok1 := unescape(fields[2])
	base, ok2 := unescape(fields[3])
	if !ok || !ok1 || !ok2 || id.onDelete == "" || directoryName(id.directory) != id.directory {
		return volumeID{}, foreign
	}
	attributes["authURL"], attributes["path"] = scheme+auth, base
	var err error
	if id.spec, err = volume.Parse(attributes); err != nil || id.String() != s {
		return volumeID{}, foreign // there is one way to write each id
	}
	return id, nil
}

func parseOptions(s string) (map[string]string, bool) {
	attributes := map[string]string{}
	if s == "" {
		return attributes, true
	}
	for option := range strings.SplitSeq(s, ",") {
		letter, value, hasValue := strings.Cut(option, "=")
		name := ""
		for _, o := range idOptions {
			if o.letter == letter {
				name = o.attribute
			}
		}
		if !hasValue {
			value = "true"
		}
		value, ok := unescape(value)
		if name == "" || !ok {
			return nil, false
		}
		attributes[name] = value
	}
	return attributes, true
}

// escape writes s in printable ASCII, without the separator and the characters
// of also.
func escape(s, also string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' && c != idSep[0] && strings.IndexByte(also, c) < 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+3 > len(s) {
			return "", false
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), true
}

// maxDirectory bounds a directory's name, so that ids have room for a URL.
// "pvc-" and a UUID have 40 bytes.
const maxDirectory = 48

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// directoryName makes the name that a volume asks for into that of its directory: itself,
// if it is short and plain, else its beginning and a hash. It is its own
// fixpoint, and never starts with a dot as .csi-uftp does.
func directoryName(name string) string {
	if len(name) <= maxDirectory && plainName.MatchString(name) {
		return name
	}
	const hashed = 16 // hex digits: 64 bits
	sum := sha256.Sum256([]byte(name))
	start := strings.Map(func(r rune) rune {
		if r < 0x80 && plainName.MatchString(string(r)) || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, name)
	start = strings.TrimLeft(start, "._-")
	start = start[:min(len(start), maxDirectory-hashed-1)]
	if start == "" {
		start = "v"
	}
	return start + "-" + hex.EncodeToString(sum[:])[:hashed]
}

// path is the volume's directory as [volume.Spec.Path].
func (id volumeID) path() string { return path.Join(id.spec.Path, id.directory) }
