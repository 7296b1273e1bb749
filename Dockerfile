# One image, several entry points: `python -m services.{simulator,router,order_gateway,paper_exchange}`.
# Builds with BuildKit and with the legacy builder alike.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS locked
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# The run-time environment has no pip of its own; wheels only, so nothing is compiled here.
RUN python -m venv --without-pip /opt/venv
COPY requirements.lock ./
RUN pip --python /opt/venv/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements.lock

# The compiler and the build backend (its own lock, its own environment) stay behind.
FROM ${PYTHON_IMAGE} AS distribution
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# The official image has the headers of its Python; Debian's own Python has them in a package.
RUN headers="$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      g++ $(test -e "$headers" || echo python3-dev) >/dev/null \
 && rm -rf /var/lib/apt/lists/*
COPY requirements-build.lock ./
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install \
      --require-hashes --only-binary :all: --requirement requirements-build.lock
WORKDIR /source
COPY pyproject.toml README.md ./
COPY src ./src
COPY services ./services
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM locked AS installed
COPY --from=distribution /wheels /wheels
# Without its extension the distribution would install too, with the slow book: not in an image.
# What only developers of libraries want goes: headers, tests, and Arrow's clients of other services.
RUN pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl \
 && cd /opt/venv/lib/python3*/site-packages \
 && rm -rf pyarrow/include pyarrow/tests pyarrow/src pyarrow/libarrow_flight* pyarrow/_flight* \
      numpy/*/tests numpy/tests sqlalchemy/testing \
 && /opt/venv/bin/python -c "import lob.native, lob.feeds, pyarrow.parquet, sqlalchemy.ext.asyncio"

FROM ${PYTHON_IMAGE}
# Fixed ids, so that volumes written by one version belong to the next one too.
RUN groupadd --system --gid 10001 touchstone \
 && useradd --system --uid 10001 --gid touchstone --home-dir /data --no-create-home \
      --shell /usr/sbin/nologin touchstone \
 && install --directory --owner touchstone --group touchstone --mode 0700 \
      /data /data/exchange /data/exchange/keys /keys
# /keys is where the gateway finds the paper exchange's key: whichever of the two containers fills
# a new volume first, the volume takes over this owner and mode.
COPY --from=installed /opt/venv /opt/venv
WORKDIR /app
COPY configs ./configs
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TOUCHSTONE_DATA_DIR=/data
USER touchstone
STOPSIGNAL SIGTERM
CMD ["touchstone", "--help"]
