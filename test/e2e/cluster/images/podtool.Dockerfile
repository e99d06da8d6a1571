FROM scratch
COPY podtool /podtool
USER 65534:65534
ENTRYPOINT ["/podtool"]
