# Everything runs in a private environment that tools/bootstrap.py makes at the first start.
#   PYTHON=python3.12     the interpreter to make it from (3.10 to 3.13)
#   ROS_WHEELS=kilted     another ROS 2 from wheels; a sourced ROS 2 (ROS_DISTRO) is used as it is
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHON

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: ## see it work: a recorded camera, the node, a consumer
	@tools/with_ros python -m demo $(ARGS)

.PHONY: test
test: ## all tests
	@tools/with_ros python -m pytest $(ARGS)

.PHONY: test-core
test-core: ## the tests that need no ROS
	@tools/with_ros python -m pytest -m "not ros and not colcon" $(ARGS)

.PHONY: test-ros
test-ros: ## the tests with a live ROS graph
	@tools/with_ros python -m pytest -m ros $(ARGS)

.PHONY: test-oldest
test-oldest: ## the tests that need no ROS, with the oldest supported versions (Python up to 3.12)
	@set -eu; environment=$$($${PYTHON:-python3} -S tools/bootstrap.py requirements/oldest.txt); \
	. "$$environment"; exec python -m pytest -m "not ros and not colcon" $(ARGS)

.PHONY: test-sam2
test-sam2: ## the tests that need torch, in an environment of their own
	@DEEP_PERCEPTION_WITH=sam2 tools/with_ros python -m pytest -m "sam2 or serve" $(ARGS)

.PHONY: test-dam
test-dam: ## the tests of the DAM server, which runs in an environment of its own
	@set -eu; environment=$$($${PYTHON:-python3} -S tools/bootstrap.py requirements/dam.txt); \
	DEEP_PERCEPTION_DAM_PYTHON="$${environment%/*}/bin/python" \
	exec tools/with_ros python -m pytest -m dam $(ARGS)

.PHONY: test-browser
test-browser: ## the tests of a replay's page in a real browser (Debian's chromium and chromium-driver)
	@set -eu; environment=$$($${PYTHON:-python3} -S tools/bootstrap.py requirements/browser.txt); \
	. "$$environment"; exec python -m pytest -m browser $(ARGS)

.PHONY: test-ray
test-ray: ## the tests of replays on Ray, in an environment of their own
	@set -eu; environment=$$($${PYTHON:-python3} -S tools/bootstrap.py requirements/ray.txt); \
	. "$$environment"; exec python -m pytest -m ray $(ARGS)

.PHONY: lint
lint: ## ruff and mypy
	@tools/with_ros bash -c 'ruff check . && ruff format --check . && mypy'

.PHONY: bench
bench: ## the benchmarks, or one: make bench BENCH=keyframe_ms
	@tools/with_ros python -m benchmarks $(BENCH)

.PHONY: clean
clean: ## remove the environments and everything built
	rm -rf .venv .venv-* .ros build install log demo_output deep_perception.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
