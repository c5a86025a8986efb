# Ludens in a container, with or without a GPU.
#
#   docker build --tag ludens .
#   docker run --rm --volume "$PWD/runs:/home/player/runs" ludens play "pick up the red key"
#   docker run --rm --interactive --tty --network host ludens chat         # its page is on the host's loopback
#   docker run --rm --gpus all --shm-size 2g ludens train small --out runs/mine
FROM python:3.13-slim

RUN useradd --create-home --uid 1000 player
COPY pyproject.toml README.md LICENSE /ludens/
COPY agent /ludens/agent
COPY envs /ludens/envs
COPY rewards /ludens/rewards
COPY tasks /ludens/tasks
COPY training /ludens/training
RUN pip install --no-cache-dir '/ludens[page,serve,train,models]' && rm -rf /ludens

USER 1000
WORKDIR /home/player
RUN mkdir runs
ENTRYPOINT ["agent"]
CMD ["play"]
