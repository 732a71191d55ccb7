# Everything runs in a private environment that tools/bootstrap.py makes at the first start.
#   PYTHON=python3.12     the interpreter to make it from (3.10 to 3.13)
#   ROS_WHEELS=kilted     another ROS 2 from wheels; a sourced ROS 2 (ROS_DISTRO) is used as it is
#   ARGS="-k encoding"    further arguments of pytest, mkdocs or the demo
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHON

# Side by side, file by file: the tests of a file share what it starts. An empty JOBS= is one process.
JOBS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PYTEST = python -m pytest --durations=10 $(JOBS)
# One environment for whatever needs more than the usual one.
EXTRAS = DEEP_PERCEPTION_WITH=browser,ray,sam2
# The environment of one list of requirements, without ROS.
PLAIN = set -eu; environment=$$($${PYTHON:-python3} -S tools/bootstrap.py requirements/$(1).txt)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: ## see it work: a recorded camera, the node, a consumer
	@tools/with_ros python -m demo $(ARGS)

.PHONY: test
test: ## the tests of every part, in minutes: all but the slow ones
	@tools/with_ros $(PYTEST) -m "not slow and not faults" $(ARGS)

.PHONY: test-slow
test-slow: ## the tests that `make test` leaves out
	@tools/with_ros $(PYTEST) -m slow $(ARGS)

.PHONY: test-all
test-all: ## both of these
	@tools/with_ros $(PYTEST) $(ARGS)

.PHONY: test-core
test-core: ## all tests that need no ROS
	@tools/with_ros $(PYTEST) -m "not ros and not colcon" $(ARGS)

.PHONY: test-ros
test-ros: ## all tests with a live ROS graph
	@tools/with_ros $(PYTEST) -m ros $(ARGS)

.PHONY: test-oldest
test-oldest: ## all tests that need no ROS, with the oldest versions (Python up to 3.12)
	@$(call PLAIN,oldest); . "$$environment"; exec $(PYTEST) -m "not ros and not colcon" $(ARGS)

.PHONY: test-sam2
test-sam2: ## the tests that need torch
	@$(EXTRAS) tools/with_ros $(PYTEST) -m "sam2 or serve" $(ARGS)

.PHONY: test-browser
test-browser: ## the tests of the page of a replay in Chromium
	@$(EXTRAS) tools/with_ros $(PYTEST) -m browser $(ARGS)

.PHONY: test-ray
test-ray: ## the tests of replays on Ray
	@$(EXTRAS) tools/with_ros $(PYTEST) -m ray $(ARGS)

.PHONY: test-extras
test-extras: ## the tests of these three
	@$(EXTRAS) tools/with_ros $(PYTEST) -m "sam2 or serve or browser or ray" $(ARGS)

.PHONY: test-dam
test-dam: ## the tests of the DAM server, which runs in an environment of its own
	@$(call PLAIN,dam); DEEP_PERCEPTION_DAM_PYTHON="$${environment%/*}/bin/python" \
	exec tools/with_ros $(PYTEST) -m dam $(ARGS)

.PHONY: test-faults
test-faults: ## random faults around a running node, and the fuzzers for longer (10 minutes)
	@tools/with_ros $(PYTEST) -m "faults or fuzz" --hypothesis-profile=long --fault-steps 150 -rP $(ARGS)

.PHONY: lint
lint: ## ruff and mypy
	@tools/with_ros bash -c 'ruff check . && ruff format --check . && mypy'

.PHONY: docs
docs: ## build the site of docs/ into site/, and fail on every warning
	@$(call PLAIN,docs); . "$$environment"; export NO_MKDOCS_2_WARNING=1; exec mkdocs build --strict $(ARGS)

.PHONY: bench
bench: ## the benchmarks, or one: make bench BENCH=keyframe_ms
	@tools/with_ros python -m benchmarks $(BENCH)

.PHONY: clean
clean: ## remove the environments and everything built
	rm -rf .venv .venv-* .ros build install log site demo_output deep_perception.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
