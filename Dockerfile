# An image for SageMaker: Python, GluonTS, gluonts_shell and the extras that you choose.
#
#   docker build -t forecaster .
#   docker build -t forecaster --build-arg EXTRAS=torch --build-arg GLUONTS_FORECASTER=gluonts.torch.DeepAREstimator .
#   docker build -t forecaster --build-arg REVISION=$(git rev-parse HEAD) .
#
# Without a network, from a folder of wheels in this folder (made where there is one, by the second line):
#
#   python -m pip wheel --wheel-dir wheels . "flit_core>=3.12,<4"
#   docker build -t forecaster --network none --build-arg WHEELHOUSE=wheels .

FROM python:3.11-slim AS wheels
ARG EXTRAS=
ARG WHEELHOUSE=
# where pip looks besides its own index, for example for a torch without CUDA
ARG PIP_EXTRA_INDEX_URL=
# pip only warns of an extra that it does not know, and the image would come out without it
RUN set -eu; \
    IFS=', '; \
    for extra in $EXTRAS; do \
        case "$extra" in \
            torch|fast|arrow|report) ;; \
            *) echo "EXTRAS has '$extra', expected none, or some of torch, fast, arrow and report with commas between" >&2; \
               exit 1 ;; \
        esac; \
    done
WORKDIR /source
COPY . .
# --root lays the files out as the second stage wants them, without pip's own traces. numpy's and pandas' own tests are
# a third of all bytes there, and nobody runs them in an image.
# Of this package there is one version, that of the source.
# hadolint ignore=DL3013
RUN set -eu; \
    if [ -n "$WHEELHOUSE" ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS="/source/$WHEELHOUSE"; fi; \
    package="gluonts-shell${EXTRAS:+[$EXTRAS]}"; \
    python -m pip wheel --no-cache-dir --wheel-dir /wheels "$package @ file:///source"; \
    python -m pip install --no-cache-dir --no-index --find-links /wheels --root /install "$package"; \
    find /install -type d -path '*-packages/numpy/*' -name tests -prune -exec rm -r {} +; \
    find /install -type d -path '*-packages/pandas/tests' -prune -exec rm -r {} +

FROM python:3.11-slim
ARG GLUONTS_FORECASTER=
# where the source is, and which state of it this is; the version is that of the package
ARG SOURCE=
ARG REVISION=
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.multi-models=true \
      org.opencontainers.image.title="gluonts_shell" \
      org.opencontainers.image.description="SageMaker's train and serve for any GluonTS forecaster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$REVISION" \
      gluonts_shell.sbom=/usr/local/share/sbom/gluonts_shell.cdx.json
# Nothing is written outside of the data path and the temporary folder, so that the root may be read-only. HOME,
# because GluonTS looks for its home folder as it is imported, and a user without a name has none.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    HOME=/tmp \
    GLUONTS_FORECASTER=$GLUONTS_FORECASTER
COPY --from=wheels /install/ /
# what is installed, for whoever has to know: the label names the file
RUN mkdir -p /usr/local/share/sbom && python -m gluonts_shell sbom > /usr/local/share/sbom/gluonts_shell.cdx.json
EXPOSE 8080
# a container that trains has no port; it is healthy as long as it runs
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-m", "gluonts_shell", "ping"]
ENTRYPOINT ["python", "-m", "gluonts_shell"]
# SageMaker names the command; the SDK's ModelTrainer in local mode starts the image without one, to train
CMD ["train"]
