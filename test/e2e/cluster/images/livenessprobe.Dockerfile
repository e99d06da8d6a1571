FROM scratch
COPY standin /livenessprobe
USER 65534:65534
ENTRYPOINT ["/livenessprobe"]
