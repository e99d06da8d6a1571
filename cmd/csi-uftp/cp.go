package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// copyFlags are those of cp and sync.
type copyFlags struct {
	remoteFlags
	progress progressFlags
	flags    *pflag.FlagSet // that these are of

	parallel                     int
	preserve, noResume, noGlob   bool
	dryRun, checksum             bool
	recursive, resume, noClobber bool // cp
	byteRange, limit             string
	inPlace, archive             bool
	sync, delete                 bool // sync
	hash                         string
}

// transferAttributes are the volume attributes of commands that move data.
func transferAttributes(a volume.Attribute) bool {
	return remoteAttributes(a) || a.Name == "ioTimeout"
}

func (f *copyFlags) add(flags *pflag.FlagSet) {
	f.flags = flags
	f.remoteFlags.add(flags, transferAttributes)
	f.progress.add(flags)
	flags.IntVarP(&f.parallel, "parallel", "t", transfer.DefaultParallel, "sessions to use side by side, for files and for ranges of big files")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "only show what would be done")
	flags.BoolVar(&f.checksum, "checksum", false, "compare checksums of source and copy")
	flags.StringVar(&f.hash, "hash", "SHA-256", "`ALGORITHM` of --checksum: MD5, SHA-1, SHA-256 or SHA-512")
	flags.StringVarP(&f.limit, "limit", "K", "", "move at most this many `BYTES` per second, with K, M, G")
	flags.BoolVar(&f.noResume, "no-resume", false, "begin anew what an interrupted copy has left")
}

// given reports whether one of these is on the command line: where it means
// nothing, a default of the configuration is no mistake.
func (f *copyFlags) given(names ...string) bool { return slices.ContainsFunc(names, f.flags.Changed) }

func newCp(a *app) *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "cp SOURCE... TARGET",
		Short: "Copy files and directories from or to a UFTP server",
		Long: `Copies files, and with -r directories, from a server to this machine or the other
way round; also from one server to another, or from place to place on one, through
this machine. With two servers, say in their URLs or endpoints who you are on each:
a flag holds for both. Either operand may be "-" for standard input or output.

If TARGET is a directory, or ends in a slash, or there are several sources, the
copies get the names of their sources there. Otherwise TARGET is the copy's name.

A source may be a pattern with *, ? and [a-z] in its path; quote it. In a URL a
question mark begins the query: write %3F.

A file gets its name when it is whole and its size is right; with --checksum,
when the server's checksum of it is right too. If the copy is interrupted, the
same command goes on where it ended: what was copied of a big file is kept beside
the target in .uftp-part-…, and --resume skips files that are there. For that name
the directory that a directory goes into, with a slash: "cp -r run1 copy" makes copy
the first time, and copies to copy/run1 the next time.

A file that cannot be copied does not stop the others: it is reported, and the
exit code is 9.

The https:// URL of a share (see "csi-uftp share ls") is a source or a target too,
with the path of a file behind it if a directory is shared. One file is copied,
through the auth server; nobody needs a credential for what is shared with
everybody. An upload that fails may leave a part of the file there.`,
		Example: `  csi-uftp cp -r -p juelich:run1 /scratch/
  csi-uftp cp 'juelich:run1/*.h5' juelich:run2/log.txt .
  csi-uftp cp --parallel 8 --checksum big.tar uftp://uftp.example.org:9000/rest/auth/TEST:/data/
  tar -c results | csi-uftp cp - juelich:results.tar
  csi-uftp cp -B 0-1M juelich:big.dat head.dat
  csi-uftp cp https://uftp.example.org:9000/rest/access/TEST/3f2a/run1.h5 .`,
		Args: minimumArgs("SOURCE", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.cp(cmd.Context(), args, &f)
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.BoolVarP(&f.recursive, "recursive", "r", false, "copy directories with all that is in them")
	flags.BoolVarP(&f.preserve, "preserve", "p", false, "keep times of modification and permissions")
	flags.BoolVarP(&f.resume, "resume", "R", false, "skip files that are there with the same size and are not older")
	flags.BoolVar(&f.noClobber, "no-clobber", false, "skip files that are there, whatever they are")
	flags.BoolVar(&f.noGlob, "no-glob", false, "take *, ? and [ in paths as they are")
	flags.BoolVarP(&f.archive, "archive", "a", false, "with -r: upload a directory as one stream, which the server unpacks")
	flags.BoolVar(&f.inPlace, "in-place", false, "with --bytes: write them into TARGET at the same offset; the rest of it stays")
	flags.StringVarP(&f.byteRange, "bytes", "B", "", "copy only a `RANGE` of one file: FIRST-LAST, FIRST-, or how many; counted from 0, with K, M, G, T")
	return cmd
}

func newSync(a *app) *cobra.Command {
	f := copyFlags{sync: true, recursive: true, preserve: true, noGlob: true}
	cmd := &cobra.Command{
		Use:   "sync SOURCE TARGET",
		Short: "Make one directory or file like another, copying what has changed",
		Long: `Copies what is in the directory SOURCE to the directory TARGET, one of them on a
server, unless it is there already with the same size and time of modification;
with --checksum, with the same checksum. Times and permissions are kept. With
--delete, what is in TARGET only is deleted, and so is a directory that has the name
of a file in SOURCE, or a file that has the name of a directory.

Of a single file that is there already only the differences are sent, by the rsync
algorithm. That pays on slow links; otherwise use "csi-uftp cp".

Try --dry-run first. It cannot tell a link to a directory from one, and shows what
is in it as deleted, where in truth the link would be.`,
		Example: `  csi-uftp sync --dry-run --delete results juelich:results
  csi-uftp sync --checksum juelich:results ~/results`,
		Args: exactArgs("SOURCE", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sync(cmd.Context(), args, &f)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&f.delete, "delete", false, "delete what is not in SOURCE")
	return cmd
}

// side is one side of a copy.
type side struct {
	tree  transfer.Tree
	names []string // of the operands
	// stat is that of the tree, but asks nothing that is known.
	stat func(ctx context.Context, name string) (uftp.Info, error)
}

// withSides runs f with both sides of a copy, of which at least one is remote.
func (a *app) withSides(ctx context.Context, args []string, f *copyFlags, run func(ctx context.Context, from, to side) error) error {
	if f.parallel < 1 || f.parallel > maxParallel {
		return usageErrorf("--parallel=%d: must be from 1 to %d", f.parallel, maxParallel)
	}
	if n, err := parseBytes(cmp.Or(f.limit, "1")); err != nil || n == 0 {
		return usageErrorf("--limit=%s: must be a number of bytes per second, with K, M, G", f.limit)
	}
	places := make([]place, len(args))
	last := len(args) - 1
	for i, arg := range args {
		var err error
		if places[i], err = a.parsePlace(arg); err != nil {
			return err
		}
		if i < last && places[i].remote != places[0].remote {
			return usageErrorf("sources must be all here or all on the server")
		}
	}
	sources, target := places[:last], places[last]
	switch {
	case !sources[0].remote && !target.remote:
		return usageErrorf("neither a source nor the target is on a server: give a URL, or NAME:PATH with a configured endpoint")
	case sources[0].remote && target.remote && sources[0].sameServer(target):
		u := use{write: true, sessions: f.parallel, glob: !f.noGlob}
		return a.withRemotes(ctx, places, &f.remoteFlags, u, func(ctx context.Context, r *remote) error {
			return run(ctx, r.side(r.names[:last]), r.side(r.names[last:]))
		})
	}
	return a.withSide(ctx, sources, f, use{sessions: f.parallel, glob: !f.noGlob}, func(ctx context.Context, from side) error {
		u := use{write: true, sessions: f.parallel}
		u.inside, u.bytes = f.ahead(ctx, from)
		return a.withSide(ctx, []place{target}, f, u, func(ctx context.Context, to side) error {
			return run(ctx, from, to)
		})
	})
}

// withSide runs f with one side of a copy.
func (a *app) withSide(ctx context.Context, places []place, f *copyFlags, u use, run func(ctx context.Context, s side) error) error {
	if !places[0].remote {
		return run(ctx, localSide(places))
	}
	return a.withRemotes(ctx, places, &f.remoteFlags, u, func(ctx context.Context, r *remote) error {
		return run(ctx, r.side(r.names))
	})
}

// ahead says what is uploaded, as far as can be told before anything is known of the
// target: what the copies may be called there, and how many bytes there are.
func (f *copyFlags) ahead(ctx context.Context, from side) (names []string, bytes int64) {
	if _, here := from.tree.(transfer.Local); !here {
		return nil, 0
	}
	// Not all of it may be moved, or other things asked for meanwhile.
	uncertain := f.sync || f.resume || f.noClobber || f.dryRun || f.limit != "" || f.byteRange != ""
	for _, name := range from.names {
		names = append(names, path.Base(filepath.ToSlash(name)))
		info, err := from.tree.Stat(ctx, name)
		uncertain = uncertain || err != nil || !info.Mode.IsRegular()
		bytes += info.Size
	}
	if uncertain {
		bytes = 0
	}
	return names, bytes
}

// localSide makes names of local paths, relative to the root.
func localSide(places []place) side {
	s := side{tree: transfer.Local{}, stat: transfer.Local{}.Stat}
	for _, p := range places {
		s.names = append(s.names, p.local)
	}
	return s
}

func (a *app) sync(ctx context.Context, args []string, f *copyFlags) error {
	return a.withSides(ctx, args, f, func(ctx context.Context, from, to side) error {
		info, err := from.tree.Stat(ctx, from.names[0])
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return a.syncFile(ctx, from, to, f)
		}
		if f.delete && from.tree == to.tree && nested(from.names[0], to.names[0]) {
			return usageErrorf("one of SOURCE and TARGET is in the other: --delete would remove what is only there")
		}
		job := f.job(from.tree, to.tree)
		job.Existing, job.Delete = transfer.KeepSame, f.delete
		if f.checksum {
			job.Existing = transfer.KeepHash
		}
		job.Pairs = []transfer.Pair{{From: from.names[0], To: to.names[0]}}
		return a.run(ctx, job, &f.progress)
	})
}

// nested reports whether one of two directories of a tree is in the other.
func nested(a, b string) bool {
	a, b = strings.TrimSuffix(path.Join("/", a), "/")+"/", strings.TrimSuffix(path.Join("/", b), "/")+"/"
	return a != b && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// maxParallel is the most sessions; servers allow fewer.
const maxParallel = 64

// How many operations are under way for each session. Reads share sessions, so
// many can be on their way; of writes one waits while another is under way.
const (
	readsPerSession  = 16
	writesPerSession = 2
)

// job is what cp and sync have in common.
func (f *copyFlags) job(from, to transfer.Tree) transfer.Job {
	job := transfer.Job{
		From: from, To: to, Recursive: f.recursive, Times: f.preserve, Modes: f.preserve,
		NoResume: f.noResume, DryRun: f.dryRun, Parallel: writesPerSession * f.parallel,
	}
	job.Limit, _ = parseBytes(cmp.Or(f.limit, "0")) // checked before
	if _, local := from.(transfer.Local); !local {
		job.Parallel = readsPerSession * f.parallel
	}
	if f.checksum {
		job.Verify = strings.ToUpper(f.hash)
	}
	switch {
	case f.resume:
		job.Existing = transfer.KeepLate
	case f.noClobber:
		job.Existing = transfer.KeepAny
	}
	return job
}

func (a *app) cp(ctx context.Context, args []string, f *copyFlags) error {
	span, err := parseRange(f.byteRange)
	switch {
	case err != nil:
		return err
	case f.inPlace && span == nil:
		return usageErrorf("--in-place goes with --bytes")
	case f.resume && f.noClobber:
		return usageErrorf("--resume and --no-clobber exclude each other")
	}
	if slices.ContainsFunc(args, uftp.IsShareHTTPURL) {
		return a.cpShare(ctx, args, f, span)
	}
	if f.archive {
		return a.cpArchive(ctx, args, f)
	}
	last := len(args) - 1
	if slices.Contains(args, stdio) || isStream(args[last]) || last == 1 && isStream(args[0]) {
		return a.cpStream(ctx, args, f, span)
	}
	return a.withSides(ctx, args, f, func(ctx context.Context, from, to side) error {
		job := f.job(from.tree, to.tree)
		job.Range, job.InPlace = span, f.inPlace || strings.HasSuffix(f.byteRange, inPlaceSuffix)
		if job.Pairs, err = f.pairs(ctx, from, to, args[last]); err != nil {
			return err
		}
		return a.run(ctx, job, &f.progress)
	})
}

// pairs says what each source is called at the target.
func (f *copyFlags) pairs(ctx context.Context, from, to side, target string) ([]transfer.Pair, error) {
	var names []string
	for _, name := range from.names {
		_, here := from.tree.(transfer.Local)
		if here || f.noGlob || !transfer.HasGlob(name) {
			names = append(names, name)
			continue
		}
		found, err := transfer.Glob(ctx, from.tree, name)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	dir := to.names[0]
	info, err := to.stat(ctx, dir)
	isDir := err == nil && info.IsDir()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	wantsDir := len(names) > 1 || len(from.names) > 1 || strings.HasSuffix(target, "/")
	if wantsDir && !isDir {
		return nil, usageErrorf("%s is not a directory", to.tree.Path(dir))
	}
	pairs := make([]transfer.Pair, 0, len(names))
	taken := make(map[string]string)
	for _, name := range names {
		p := transfer.Pair{From: name, To: dir}
		if base := path.Base(filepath.ToSlash(name)); isDir && base != "." && base != "/" && base != ".." {
			p.To = path.Join(dir, base)
		}
		if other, ok := taken[p.To]; ok {
			return nil, usageErrorf("%s and %s would both become %s", from.tree.Path(other), from.tree.Path(name), to.tree.Path(p.To))
		}
		taken[p.To] = name
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// isStream reports whether a local target is something to write to as it is: a
// device or a pipe.
func isStream(target string) bool {
	fi, err := os.Stat(target)
	return err == nil && !fi.Mode().IsRegular() && !fi.IsDir()
}
