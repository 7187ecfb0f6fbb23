# The image that Flow runs: one process per request stream, requests on standard input.
FROM rust:1.95-slim-trixie AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY protocol ./protocol
COPY src ./src
# The manifest lists the benchmarks, so their files have to be there; they are not built.
COPY benches ./benches
RUN cargo build --release --locked --bin source-postgres

FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 65532 nonroot \
    && useradd --system --uid 65532 --gid nonroot --create-home --home-dir /home/nonroot nonroot \
    && install -d -m 700 -o nonroot -g nonroot /home/nonroot/.ssh

LABEL FLOW_RUNTIME_PROTOCOL=capture
LABEL CONNECTOR_PROTOCOL=flow-capture

WORKDIR /connector
ENV PATH="/connector:$PATH"
COPY --from=build /build/target/release/source-postgres /connector/source-postgres
USER nonroot:nonroot
ENTRYPOINT ["/connector/source-postgres"]
