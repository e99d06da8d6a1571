package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"testing"
)

// TestRun builds the product's own Dockerfile. It checks that every blob is under its digest, that both indexes find
// the layer, and that the layer holds the binary.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	binary, ca := filepath.Join(dir, "csi-uftp"), filepath.Join(dir, "ca.crt")
	for file, mode := range map[string]os.FileMode{binary: 0o700, ca: 0o600} {
		if err := os.WriteFile(file, []byte("content of "+filepath.Base(file)), mode); err != nil {
			t.Fatal(err)
		}
	}
	sources := []string{"/csi-uftp=" + binary, "/etc/ssl/certs/ca-certificates.crt=" + ca}
	var images [2][]byte
	for i := range images {
		out := filepath.Join(dir, "image.tar")
		if err := run(out, "example/csi-uftp:1", "../../Dockerfile", sources); err != nil {
			t.Fatal(err)
		}
		var err error
		if images[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same input gives different images")
	}

	files := untar(t, images[0])
	for name, data := range files {
		if sum := sha256.Sum256(data); path.Dir(name) == "blobs/sha256" && path.Base(name) != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has another digest", name)
		}
	}
	var archive []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &archive); err != nil || len(archive) != 1 || archive[0].RepoTags[0] != "example/csi-uftp:1" {
		t.Fatalf("manifest.json: %s (%v)", files["manifest.json"], err)
	}
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index.json: %s (%v)", files["index.json"], err)
	}
	var manifest struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(files["blobs/sha256/"+index.Manifests[0].Digest[len("sha256:"):]], &manifest); err != nil {
		t.Fatal(err)
	}
	if got, want := path.Base(archive[0].Layers[0]), manifest.Layers[0].Digest[len("sha256:"):]; got != want {
		t.Errorf("the docker archive's layer is %s, the OCI layout's %s", got, want)
	}
	layer := untar(t, files[archive[0].Layers[0]])
	if string(layer["csi-uftp"]) != "content of csi-uftp" || string(layer["etc/ssl/certs/ca-certificates.crt"]) != "content of ca.crt" {
		t.Errorf("the layer holds %v", layer)
	}
}

// TestRecipe reads the Dockerfiles of the repository, and what it cannot do.
func TestRecipe(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseRecipe(string(text))
	want := recipe{
		copies: []copied{
			{"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt"}, {"/csi-uftp", "/csi-uftp"},
		},
		user: "65534:65534", entrypoint: []string{"/csi-uftp"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the Dockerfile says %+v (%v), want %+v", got, err, want)
	}
	for _, text := range []string{
		"", "FROM debian\nENTRYPOINT [\"/x\"]", "FROM scratch\nCOPY a /a", "FROM scratch\nRUN make\nENTRYPOINT [\"/x\"]",
		"FROM scratch\nCOPY a b /dir/\nENTRYPOINT [\"/x\"]", "FROM scratch\nENTRYPOINT /x",
	} {
		if r, err := parseRecipe(text); err == nil {
			t.Errorf("%q gives %+v", text, r)
		}
	}
}

func TestQualified(t *testing.T) {
	for ref, want := range map[string]string{
		"csi-uftp:latest": "docker.io/library/csi-uftp:latest", "me/csi-uftp:1": "docker.io/me/csi-uftp:1",
		"e2e.local/pause:1": "e2e.local/pause:1", "localhost/x:1": "localhost/x:1", "registry:5000/x:1": "registry:5000/x:1",
	} {
		if got := qualified(ref); got != want {
			t.Errorf("%s is %s, want %s", ref, got, want)
		}
	}
}

func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}
