package main

import "path/filepath"

// program returns the command line of one of the node's programs.
func (n *node) program(name string) []string {
	kube := []string{filepath.Join(n.bin, "kube"), name}
	config := func(file string) string { return n.path("etc", file) }
	pki := func(file string) string { return n.path("etc/pki", file) }
	kubeconfig := "--kubeconfig=" + config(name+".kubeconfig")
	delegated := []string{"--authentication-kubeconfig=" + config(name+".kubeconfig"), "--authorization-kubeconfig=" + config(name+".kubeconfig"),
		"--bind-address=127.0.0.1", "--leader-elect=false", kubeconfig}
	switch name {
	case "containerd":
		return []string{"containerd", "--config", config("containerd.toml")}
	case "etcd":
		return append(kube, "--data-dir", n.path("etcd"), "--log-level", "warn", "--unsafe-no-fsync",
			"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", "http://127.0.0.1:2380")
	case "kube-apiserver":
		return append(kube, "--v=1", "--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=0.0.0.0", "--secure-port="+apiPort, "--advertise-address="+nodeIP,
			"--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"),
			"--client-ca-file="+pki("ca.crt"), "--kubelet-certificate-authority="+pki("ca.crt"),
			"--kubelet-client-certificate="+pki("admin.crt"), "--kubelet-client-key="+pki("admin.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-key-file="+pki("sa.pub"), "--service-account-signing-key-file="+pki("sa.key"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true", "--service-cluster-ip-range="+serviceCIDR)
	case "kube-controller-manager":
		return append(append(kube, "--v=1", "--use-service-account-credentials=true",
			"--root-ca-file="+pki("ca.crt"), "--service-account-private-key-file="+pki("sa.key"),
			"--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
			"--flex-volume-plugin-dir="+n.path("flexvolume")), delegated...)
	case "kube-scheduler":
		return append(append(kube, "--v=1"), delegated...)
	case "kube-proxy":
		return append(kube, "--v=1", "--config="+config("kube-proxy.yaml"))
	case "kubelet":
		return append(kube, "--v=2", "--config="+config("kubelet.yaml"), kubeconfig,
			"--hostname-override="+nodeName, "--node-ip="+nodeIP, "--root-dir=/var/lib/kubelet")
	}
	panic("localkube: no program " + name)
}
