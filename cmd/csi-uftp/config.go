package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// envConfig is the environment variable that names another configuration file.
const envConfig = "CSI_UFTP_CONFIG"

// config is the user's configuration file. It holds no secrets.
type config struct {
	// Defaults are flags without their dashes, for every command that has them.
	Defaults map[string]string `yaml:"defaults"`
	// Endpoints are servers by the names that the user gave them.
	Endpoints map[string]endpoint `yaml:"endpoints"`
}

// endpoint is one server: its URL, and flags for commands that work there.
type endpoint struct {
	URL   string            `yaml:"url"`
	Flags map[string]string `yaml:",inline"`
}

func helpConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "How to name servers and set defaults",
		Long: `csi-uftp reads ~/.config/csi-uftp/config.yaml, or the file that
$` + envConfig + ` names:

  defaults:
    parallel: 8
  endpoints:
    juelich:
      url: uftp://uftp.example.org:9112/UFTP_Auth/rest/auth/JUDAC:/project/data
      user: demo
      identity: ~/.ssh/id_ed25519
    test:
      url: "uftp://localhost:9000/rest/auth/TEST:"
      token-file: ~/.test-token
      ca-file: ~/.test-ca.pem

A URL that ends in a colon needs the quotes. An endpoint stands for its URL:

  csi-uftp ls juelich:             the directory in the URL, /project/data
  csi-uftp ls juelich:run1         below it, /project/data/run1
  csi-uftp ls juelich:/scratch     another directory

Such a path is taken as it is, without %20 and the like, and without a query.
All of defaults are flags without their dashes, and so are the other keys of an
endpoint; there only those that say who and where. A flag on the command line
comes first, then the endpoint's, then the default; a default is not heeded where
the flag means nothing, as checksum and limit do for a stream. Passwords and tokens
do not belong into this file; name files that hold them.
`,
	}
}

// loadConfig reads the configuration, if there is one.
func loadConfig() (config, error) {
	file, named := os.LookupEnv(envConfig)
	if !named {
		dir, err := os.UserConfigDir()
		if err != nil {
			return config{}, nil //nolint:nilerr // no home, no configuration
		}
		file = filepath.Join(dir, "csi-uftp", "config.yaml")
	}
	data, err := os.ReadFile(file) //nolint:gosec // the user's own
	if errors.Is(err, fs.ErrNotExist) && !named {
		return config{}, nil
	}
	if err != nil {
		return config{}, usageErrorf("configuration: %v", err)
	}
	c, err := parseConfig(data)
	if err != nil {
		hint := ""
		if strings.Contains(err.Error(), "mapping values") {
			hint = "; a URL that ends in a colon needs quotes"
		}
		return config{}, usageErrorf("%s: %v%s", file, err, hint)
	}
	return c, nil
}

func parseConfig(data []byte) (config, error) {
	var c config
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return config{}, err
	}
	for name, e := range c.Endpoints {
		switch {
		case !endpointName().MatchString(name):
			return config{}, fmt.Errorf("endpoint %q: a name has letters, digits, - and _, and begins with a letter", name)
		case e.URL == "":
			return config{}, fmt.Errorf("endpoint %s has no url", name)
		}
		for key := range e.Flags {
			if strings.Contains(key, "password") && key != "password-file" || key == "token" {
				return config{}, fmt.Errorf("endpoint %s: no secrets here; use password-file or token-file instead of %s", name, key)
			}
		}
	}
	return c, nil
}

func endpointName() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`) }

// setFlags gives flags that were not on the command line the values in from. Keys
// that known has are no mistake where the command does not have them.
func setFlags(flags *pflag.FlagSet, known func(string) bool, from map[string]string, where string) error {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		flag := flags.Lookup(name)
		switch {
		case !known(name):
			return usageErrorf("%s: there is no such flag here: %s", where, name)
		case flag == nil || flag.Changed:
			continue
		}
		if err := flags.Set(name, expandHome(from[name])); err != nil {
			return usageErrorf("%s: %s: %v", where, name, err)
		}
		flag.Changed = false // a flag of an endpoint may still change a default
	}
	return nil
}

// knownFlags reports which names are flags of some command below root.
func knownFlags(root *cobra.Command) func(string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(root.Commands(), func(cmd *cobra.Command) bool {
			return cmd.Flags().Lookup(name) != nil || knownFlags(cmd)(name)
		})
	}
}

// expandHome replaces ~/ at the beginning by the home directory.
func expandHome(file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return file
	}
	return filepath.Join(home, rest)
}
