# minorkey in a container; docs/container.md says how to build and run it.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# Where torch comes from: builds for CPUs, or https://pypi.org/simple, whose builds are for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Of pyproject.toml, with commas between them; may be empty.
ARG EXTRAS=export

WORKDIR /opt/minorkey
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN python -m pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" "$(grep '^torch==' constraints.txt)"
COPY src ./src
RUN python -m pip install --no-cache-dir --constraint constraints.txt ".${EXTRAS:+[${EXTRAS}]}"

RUN useradd --create-home --uid 1000 minorkey && install --directory --owner minorkey /data
USER minorkey
ENV HF_HOME=/data/.cache/huggingface
WORKDIR /data
VOLUME /data

ENTRYPOINT ["minorkey"]
CMD ["--help"]
