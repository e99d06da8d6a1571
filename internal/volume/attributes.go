package volume

import (
	"strings"
	"time"
	"unicode"
)

// Attribute is one setting of a volume: one row of the table that CSI volume
// attributes, mount flags, URL query keys and docs/PARAMETERS.md are made from.
type Attribute struct {
	Name    string // in CSI volume attributes, StorageClass parameters, mount options and URL queries
	Type    string // what a value looks like, for people: "size", "duration", "yes or no" …
	Default string // as text; "" is unset
	Allowed string // bounds or choices, for people; "" is everything of the type
	Help    string // one or two sentences
	// Place says that the attribute decides which directory is shown, or to
	// whom the server believes to show it. Such an attribute is fixed when the
	// volume is made, so a mount option may not change it.
	Place bool

	set func(*Spec, string) error
	get func(Spec) string
}

// Set parses value into s. Its error wraps [ErrInvalid] and quotes the value,
// unless it could contain a password.
func (a Attribute) Set(s *Spec, value string) error {
	if err := a.set(s, value); err != nil {
		return invalidValue(a, value, err)
	}
	return nil
}

// Get returns the attribute's value in s in the form that Set accepts.
func (a Attribute) Get(s Spec) string { return a.get(s) }

// Flag returns the name of the command line flag: "cacheSize" is "cache-size",
// "authURL" is "auth-url".
func (a Attribute) Flag() string { return kebab(a.Name) }

// IsBool reports whether the attribute alone, without a value, means yes.
func (a Attribute) IsBool() bool { return a.Type == typeBool }

// Attributes returns the table, in the order in which it is documented.
func Attributes() []Attribute {
	return []Attribute{
		text("authURL", "https://HOST[:PORT]/rest/auth/NAME", checkAuthURL, func(s *Spec) *string { return &s.AuthURL },
			"URL of the auth service, up to and including the name of the UFTPD server.").place(),
		text("server", "HOST:PORT", checkServer, func(s *Spec) *string { return &s.Server },
			"Address of a UFTPD to log in to directly with a one-time password, instead of authURL. Only `csi-uftp mount` can use it.").place(),
		text("path", "UTF-8 without `..`, line breaks or NUL", checkPath, func(s *Spec) *string { return &s.Path },
			"Directory to show: absolute, or relative to the user's home directory, which is the default. "+
				"In a StorageClass: the existing directory below which each volume gets a directory of its own.").clean(cleanPath).place(),
		text("group", "", checkWord, func(s *Spec) *string { return &s.RemoteGroup },
			"Unix group to work as on the server, one of the user's; the default is the user's primary group.").place(),
		text("clientAddress", "addresses or host names, separated by commas", checkAddresses, func(s *Spec) *string { return &s.ClientAddress },
			"Addresses from which UFTPD shall accept the connection, when it sees another one than the auth service does (NAT, proxy, IPv6).").place(),
		boolean("insecureSkipVerify", func(s *Spec) *bool { return &s.Insecure },
			"Do not verify the auth service's certificate. Credentials then go to whoever answers: for tests only; give `ca.crt` in the Secret instead.").place(),

		boolean("readOnly", func(s *Spec) *bool { return &s.ReadOnly },
			"Refuse every change, in the kernel and in the process that talks to the server."),
		number("uid", "0", 0, maxID, func(s *Spec) *uint32 { return &s.UID },
			"User that owns everything shown. The server does not tell owners."),
		number("gid", "0", 0, maxID, func(s *Spec) *uint32 { return &s.GID },
			"Group that owns everything shown, unless the pod's fsGroup does."),
		mode("fileMode", func(s *Spec) *uint32 { return &s.FileMode },
			"Permission bits shown for every file; 0 shows the server's own."),
		mode("dirMode", func(s *Spec) *uint32 { return &s.DirMode },
			"Permission bits shown for every directory; 0 shows the server's own."),
		mode("umask", func(s *Spec) *uint32 { return &s.Umask },
			"Permission bits removed from the server's own."),

		duration("attrTimeout", "1s", 0, time.Hour, func(s *Spec) *time.Duration { return &s.AttrTimeout },
			"How long the kernel may believe a file's size, times and mode. Opening a file asks all the same, but for openTimeout."),
		duration("entryTimeout", "1s", 0, time.Hour, func(s *Spec) *time.Duration { return &s.EntryTimeout },
			"How long the kernel may believe that a name exists."),
		duration("negativeTimeout", "0s", 0, time.Hour, func(s *Spec) *time.Duration { return &s.NegativeTimeout },
			"How long the kernel may believe that a name does not exist."),
		duration("openTimeout", "0s", 0, time.Hour, func(s *Spec) *time.Duration { return &s.OpenTimeout },
			"How long who opens a file to read it may believe what is known of it, instead of asking. For data that nobody changes: "+
				"with attrTimeout and entryTimeout as long, reading it again asks nothing."),

		size("cacheSize", "256Mi", 1<<20, 1<<40, func(s *Spec) *int64 { return &s.CacheSize },
			"Memory for data read, for each mount."),
		size("blockSize", "1Mi", 4<<10, 16<<20, func(s *Spec) *int64 { return &s.BlockSize },
			"Unit in which data is fetched and cached: a power of two, at most cacheSize."),
		text("cacheDir", "absolute path", checkDirectory, func(s *Spec) *string { return &s.CacheDir },
			"Directory on the node's disk for data read, kept across mounts and restarts. Mounts of the same user share what is in it. "+
				"In Kubernetes: the directory that the administrator has given the driver for that."),
		size("cacheDirSize", "10Gi", 1<<20, 1<<50, func(s *Spec) *int64 { return &s.CacheDirSize },
			"Data in cacheDir at most, of all mounts that use it. A file takes half of it at most."),
		size("dirtyLimit", "64Mi", 1<<20, 1<<40, func(s *Spec) *int64 { return &s.DirtyLimit },
			"Memory for data written and not yet confirmed by the server, and for sending it; writers wait beyond that."),
		choice("verify", "none", []string{"none", "md5", "sha256"}, func(s *Spec) *string { return &s.Verify },
			"Hash with which the server's copy of everything written is compared, by the server reading it again, before `fsync` and `close` return."),
		count("maxSessions", "4", 1, 64, func(s *Spec) *int { return &s.MaxSessions },
			"Sessions opened at most, for each mount. The server limits them for each user, over all nodes, often to 8 or 16."),
		size("rateLimit", "0", 0, 1<<50, func(s *Spec) *int64 { return &s.RateLimit },
			"Bytes read and written per second at most, together, for each mount; 0 is no limit. Not with `encryption`, `compress` or `streams`."),
		duration("idleTimeout", "1m", time.Second, 24*time.Hour, func(s *Spec) *time.Duration { return &s.IdleTimeout },
			"After this time without use a session is given back to the server."),
		duration("ioTimeout", "5m", time.Second, 24*time.Hour, func(s *Spec) *time.Duration { return &s.IOTimeout },
			"How long an operation waits for a server that is away before it fails with an I/O error, counted from when the server was found "+
				"to be away: after that time operations fail at once, until it is back."),

		choice("encryption", "none", []string{"none", "aes", "blowfish"}, func(s *Spec) *string { return &s.Encryption },
			"Encrypt data connections, with a new key for each authentication. It hides contents from who happens to see them, not from "+
				"an attacker: nothing protects their integrity, and names and passwords are not encrypted. Use aes."),
		boolean("compress", func(s *Spec) *bool { return &s.Compress },
			"Send contents through gzip: for slow links and data that compresses well."),
		count("streams", "1", 1, 64, func(s *Spec) *int { return &s.Streams },
			"TCP connections for each transfer, at most what the server allows (often 4). Does not go together with encryption. "+
				"Each of encryption, compress and streams costs three round trips a transfer; several sessions are the better way to be fast."),
		text("secretName", "name of a Secret", checkSecretName, func(s *Spec) *string { return &s.SecretName },
			"Kubernetes Secret with the credentials, read by the driver itself; used when Kubernetes passes no secret "+
				"(nodePublishSecretRef, csi.storage.k8s.io/node-publish-secret-name), which is the better way.").place(),
		text("secretNamespace", "name of a namespace", checkNamespace, func(s *Spec) *string { return &s.SecretNamespace },
			"Namespace of secretName.").place(),

		choice("sharing", "auto", []string{"auto", "none"}, func(s *Spec) *string { return &s.Sharing },
			"Whether publications on a node with equal settings and the same identity use one mount, and so one set of sessions (`auto`), or each its own (`none`)."),
	}
}

// place marks a as part of the volume's place.
func (a Attribute) place() Attribute {
	a.Place = true
	return a
}

// clean makes Set and Default normalise values with f before they are stored.
func (a Attribute) clean(f func(string) string) Attribute {
	set := a.set
	a.set = func(s *Spec, v string) error { return set(s, f(v)) }
	return a
}

// kebab turns camelCase into kebab-case; a run of capitals is one word.
func kebab(name string) string {
	var b strings.Builder
	upper := false
	for _, r := range name {
		if unicode.IsUpper(r) && !upper {
			b.WriteByte('-')
		}
		upper = unicode.IsUpper(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
