"""Properties of the code that depends on TensorFlow."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context

from pipeline.engine import Engine, backend

from .problem import Problem


def operations_of_graphs_with_loops(program: Callable[[], Any]) -> set[str]:
    """The names of the operations that TensorFlow runs beside those of a loop."""
    context.enable_run_metadata()
    try:
        program()
        run = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    graphs = [graph for function in run.function_graphs for graph in function.partition_graphs]
    names = [{node.op for node in graph.node} for graph in graphs]
    return set().union(*(each for each in names if "NextIteration" in each))


def test_what_is_apart_is_in_no_graph_with_loops() -> None:
    def body(_: Any, x: Any) -> Any:
        return tf.cosh(x)

    def ran(body: Callable[[Any, Any], Any]) -> set[str]:
        def program(x: Any) -> Any:
            return backend.repeat(x, body, tf.constant(0.5))

        compiled = backend.compiled(program, "graph")
        return operations_of_graphs_with_loops(lambda: compiled(tf.constant(3)))

    assert "Cosh" in ran(body)
    assert "NextIteration" in ran(backend.apart(body))
    assert "Cosh" not in ran(backend.apart(body))


def test_a_graph_programs_training_step_is_apart() -> None:
    problem, engine = Problem(), Engine("graph")
    found = operations_of_graphs_with_loops(lambda: problem.train(engine, [problem.member()]))
    assert found
    assert "ResourceApplyAdam" not in found
