// Command ocitar packs a static binary and the public CA certificates into a
// container image without Docker: the one the Dockerfile builds from scratch.
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
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	ref := flag.String("ref", "csi-uftp:latest", "name and tag of the image")
	out := flag.String("out", "csi-uftp.tar", "file to write")
	certificates := flag.String("ca", "/etc/ssl/certs/ca-certificates.crt", "PEM file of the CA certificates")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: ocitar [-ref NAME:TAG] [-out FILE] BINARY")
		os.Exit(2)
	}
	if err := run(*out, *ref, flag.Arg(0), *certificates); err != nil {
		fmt.Fprintln(os.Stderr, "ocitar:", err)
		os.Exit(1)
	}
}

func run(out, ref, binary, certificates string) (err error) {
	layer, err := rootfs(binary, certificates)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	return writeImage(f, ref, "/"+filepath.Base(binary), layer)
}

// rootfs returns the image's one layer.
func rootfs(binary, certificates string) ([]byte, error) {
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/"} {
		if err := tw.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	for _, file := range []struct {
		from, to string
		mode     int64
	}{
		{certificates, "etc/ssl/certs/ca-certificates.crt", 0o644},
		{binary, filepath.Base(binary), 0o755},
	} {
		data, err := os.ReadFile(file.from)
		if err != nil {
			return nil, err
		}
		if err := add(tw, file.to, file.mode, data); err != nil {
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
func writeImage(w io.Writer, ref, entrypoint string, layer []byte) error {
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
		"config": object{"Entrypoint": []string{entrypoint}, "User": "65534:65534"},
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
		"io.containerd.image.name":          ref,
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
