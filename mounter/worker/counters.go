package worker

import (
	"reflect"
	"strings"
	"unicode"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// counters flattens the snapshots of a mount's parts: RoundTrips of the client
// is "client_round_trips". Whatever number a part adds to its snapshot comes out
// here.
func counters(client uftp.ClientStats, files fusefs.Stats, disk fusefs.Disk) map[string]int64 {
	all := map[string]int64{"files_failing": int64(len(files.Failing))}
	flatten(all, "client", reflect.ValueOf(client))
	flatten(all, "files", reflect.ValueOf(files))
	if c, ok := disk.(*diskcache.Cache); ok {
		flatten(all, "disk", reflect.ValueOf(c.Stats()))
	}
	return all
}

// flatten adds the whole numbers in v, and in the structures in it.
func flatten(all map[string]int64, name string, v reflect.Value) {
	switch {
	case v.CanInt():
		all[name] = v.Int()
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			flatten(all, name+"_"+snake(v.Type().Field(i).Name), v.Field(i))
		}
	}
}

// snake turns CamelCase into snake_case.
func snake(name string) string {
	var b strings.Builder
	upper := true
	for _, r := range name {
		if unicode.IsUpper(r) && !upper {
			b.WriteByte('_')
		}
		upper = unicode.IsUpper(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
