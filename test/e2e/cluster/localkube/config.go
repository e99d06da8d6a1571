package main

import (
	"embed"
	"fmt"
	"os"
	"text/template"
)

const (
	podCIDR     = "10.244.0.0/24"
	serviceCIDR = "10.96.0.0/16"
	serviceIP   = "10.96.0.1" // the API server's
	pauseImage  = "e2e.local/pause:1"
)

//go:embed config
var configs embed.FS

// writeConfig writes everything below etc, and kubeconfig. It returns a client
// with all rights.
func (n *node) writeConfig() (*api, error) {
	p, err := newPKI(n.path("etc/pki"))
	if err != nil {
		return nil, err
	}
	if _, err := p.issue("apiserver", "kube-apiserver", "", "127.0.0.1", nodeIP, serviceIP, "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"); err != nil {
		return nil, err
	}
	inside := "https://127.0.0.1:" + apiPort
	for _, client := range []struct{ name, user, group string }{
		{"kubelet", "system:node:" + nodeName, "system:nodes"},
		{"kube-controller-manager", "system:kube-controller-manager", ""},
		{"kube-scheduler", "system:kube-scheduler", ""},
		{"kube-proxy", "system:kube-proxy", ""},
	} {
		// The kubelet serves with its certificate, too.
		pair, err := p.issue(client.name, client.user, client.group, nodeName, nodeIP)
		if err != nil {
			return nil, err
		}
		if err := p.kubeconfig(n.path("etc", client.name+".kubeconfig"), inside, pair); err != nil {
			return nil, err
		}
	}
	pair, err := p.issue("admin", "e2e-admin", "system:masters")
	if err != nil {
		return nil, err
	}
	if err := p.kubeconfig(n.path("kubeconfig"), fmt.Sprintf("https://127.0.0.1:%d", n.port), pair); err != nil {
		return nil, err
	}
	if err := n.writeTemplates(); err != nil {
		return nil, err
	}
	return newAPI(inside, p, pair)
}

// writeTemplates fills in the files of the directory config.
func (n *node) writeTemplates() error {
	all, err := template.ParseFS(configs, "config/*")
	if err != nil {
		return err
	}
	for _, t := range all.Templates() {
		f, err := os.OpenFile(n.path("etc", t.Name()), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		err = t.Execute(f, map[string]string{
			"Etc": n.path("etc"), "Cgroup": n.cgroup(), "CNI": n.cni, "FlexVolume": n.path("flexvolume"),
			"PodCIDR": podCIDR, "Node": nodeName, "Pause": pauseImage,
		})
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
