FROM scratch
COPY standin /csi-node-driver-registrar
USER 65534:65534
ENTRYPOINT ["/csi-node-driver-registrar"]
