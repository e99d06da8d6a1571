// Command ocitar builds what the last stage of a Dockerfile says, without Docker
// and without pulling anything: an image FROM scratch that consists of a few files.
//
//	ocitar -file Dockerfile -ref csi-uftp:latest -out csi-uftp.tar /csi-uftp=bin/csi-uftp
//
// What the Dockerfile copies comes from the file given for it as SOURCE=FILE, or
// else from this machine, at the same absolute path, or relative to the current
// directory.
//
// The tar is an OCI layout and a docker archive in one, so "docker load",
// "ctr images import" and "kind load image-archive" all take it. Equal input
// gives equal output.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
)

func main() {
	file := flag.String("file", "Dockerfile", "Dockerfile to follow")
	ref := flag.String("ref", "csi-uftp:latest", "name and tag of the image")
	out := flag.String("out", "csi-uftp.tar", "file to write")
	flag.Parse()
	if err := run(*out, *ref, *file, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "ocitar:", err)
		os.Exit(1)
	}
}

func run(out, ref, dockerfile string, built []string) (err error) {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return err
	}
	r, err := parseRecipe(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", dockerfile, err)
	}
	sources := make(map[string]string)
	for _, arg := range built {
		source, file, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("argument %q is not SOURCE=FILE", arg)
		}
		sources[source] = file
	}
	layer, err := rootfs(r, sources)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(writeImage(f, ref, r, layer), f.Close())
}

// rootfs returns the image's one layer.
func rootfs(r recipe, sources map[string]string) ([]byte, error) {
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	dirs := make(map[string]bool)
	for _, c := range r.copies {
		source, ok := sources[c.source]
		if !ok {
			source = c.source
		}
		name := strings.TrimPrefix(path.Clean(c.target), "/")
		for i := range name {
			if dir := name[:i+1]; strings.HasSuffix(dir, "/") && !dirs[dir] {
				dirs[dir] = true
				if err := tw.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
					return nil, err
				}
			}
		}
		data, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(source)
		if err != nil {
			return nil, err
		}
		// Whoever runs the image is not who built it.
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		if err := add(tw, name, mode, data); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), tw.Close()
}

func add(tw *tar.Writer, name string, mode int64, data []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

// object is a JSON object, its keys sorted when written.
type object map[string]any

// writeImage writes the layer, the image's configuration and the indexes of both
// formats.
func writeImage(w io.Writer, ref string, r recipe, layer []byte) error {
	tw := tar.NewWriter(w)
	blob := func(mediaType string, data []byte) (object, error) {
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		descriptor := object{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(data)}
		return descriptor, add(tw, "blobs/sha256/"+name, 0o644, data)
	}
	jsonBlob := func(mediaType string, v any) (object, error) {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		return blob(mediaType, data)
	}

	layerBlob, err := blob("application/vnd.oci.image.layer.v1.tar", layer)
	if err != nil {
		return err
	}
	config, err := jsonBlob("application/vnd.oci.image.config.v1+json", object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": r.entrypoint, "User": r.user},
		"rootfs": object{"type": "layers", "diff_ids": []any{layerBlob["digest"]}},
	})
	if err != nil {
		return err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := jsonBlob(manifestType, object{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []object{layerBlob},
	})
	if err != nil {
		return err
	}
	manifest["annotations"] = object{
		"io.containerd.image.name":          qualified(ref),
		"org.opencontainers.image.ref.name": ref[strings.LastIndex(ref, ":")+1:],
	}
	blobPath := func(descriptor object) string {
		return path.Join("blobs/sha256", strings.TrimPrefix(fmt.Sprint(descriptor["digest"]), "sha256:"))
	}
	for _, file := range []struct {
		name string
		v    any
	}{
		{"oci-layout", object{"imageLayoutVersion": "1.0.0"}},
		{"index.json", object{"schemaVersion": 2, "manifests": []object{manifest}}},
		{"manifest.json", []object{{"Config": blobPath(config), "RepoTags": []string{ref}, "Layers": []string{blobPath(layerBlob)}}}},
	} {
		data, err := json.Marshal(file.v)
		if err != nil {
			return err
		}
		if err := add(tw, file.name, 0o644, data); err != nil {
			return err
		}
	}
	return tw.Close()
}

// qualified returns the name that containerd gives an image of Docker's: one
// without a registry is Docker Hub's.
func qualified(ref string) string {
	first, _, hasSlash := strings.Cut(ref, "/")
	switch {
	case !hasSlash:
		return "docker.io/library/" + ref
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		return "docker.io/" + ref
	}
	return ref
}
