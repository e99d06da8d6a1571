FROM scratch
COPY csi-provisioner /csi-provisioner
USER 65534:65534
ENTRYPOINT ["/csi-provisioner"]
