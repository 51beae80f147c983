"""Tiny networks in ONNX with seeded random weights, and cards for them: for tests of everything but accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

SIDE_PX = 64
YOLO_CELLS = 84
"""Cells of the grids of stride 8, 16 and 32 on 64 × 64 pixels."""
_OPSET = 17
_IR_VERSION = 9


class NetworkBuilder:
    """Collects nodes and weights; every method gives the name of what it computes."""

    def __init__(self, seed: int = 7) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, value: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, value: str, channels: int, stride: int, *, inputs: int = 3, spread: float = 0.05) -> str:
        """A convolution whose kernel is as wide as its stride: each cell sees its own pixels."""
        kernel = self._rng.normal(0, spread, (channels, inputs, stride, stride)) / stride
        bias = self._rng.normal(0, 0.3, channels)
        return self.node(
            "Conv",
            value,
            self.weight(kernel.astype(np.float32)),
            self.weight(bias.astype(np.float32)),
            strides=[stride, stride],
            kernel_shape=[stride, stride],
        )

    def grid(self, value: str, numbers: int, spread: float) -> str:
        """`(n, numbers, 84)`: a row of cells for each stride, one grid behind the other."""
        parts = []
        for stride in (8, 16, 32):
            found = self.conv(value, numbers, stride, spread=spread)
            shape = self.weight(np.array([0, numbers, -1], dtype=np.int64))
            parts.append(self.node("Reshape", found, shape))
        return self.node("Concat", *parts, axis=2)

    def pooled(self, value: str, numbers: int, spread: float = 0.2) -> str:
        """`(n, numbers)`."""
        found = self.node("Tanh", self.conv(value, numbers, 8, spread=spread))
        return self.node("Flatten", self.node("GlobalAveragePool", found), axis=1)

    def save(
        self,
        path: Path,
        outputs: Sequence[str],
        *,
        shape: Sequence[int | str] = ("n", 3, SIDE_PX, SIDE_PX),
        dtype: int = TensorProto.FLOAT,
        metadata: dict[str, str] | None = None,
        output_shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> Path:
        """Write the network with its one input `picture`."""
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info("picture", dtype, list(shape))],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, list(output_shapes[name]))
                if output_shapes
                else helper.make_empty_tensor_value_info(name)
                for name in outputs
            ],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        if metadata:
            helper.set_model_props(model, metadata)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
        return path


def save_yolox(path: Path, classes: int, *, batch: int | str = "n") -> Path:
    """YOLOX's raw grid `(n, 84, 5 + classes)` from grey levels: places and sizes small, scores after their sigmoid."""
    net = NetworkBuilder()
    levels = net.node("Mul", "picture", net.weight(np.float32(1 / 255)))
    boxes, scores = net.grid(levels, 4, 0.3), net.node("Sigmoid", net.grid(levels, 1 + classes, 2.0))
    net.node("Transpose", net.node("Concat", boxes, scores, axis=1), perm=[0, 2, 1], output="grid")
    return net.save(path, ["grid"], shape=(batch, 3, SIDE_PX, SIDE_PX))


def save_yolo(path: Path, classes: int, *, objectness: bool, masks: int = 0, names: bool = False) -> Path:
    """YOLOv8's `(n, 4 + classes + masks, 84)` or v5's `(n, 84, 5 + classes)`; with `masks`, 16 × 16 prototypes too."""
    net = NetworkBuilder()
    boxes = net.node("Mul", net.node("Sigmoid", net.grid("picture", 4, 1.0)), net.weight(np.float32(SIDE_PX * 0.8)))
    parts = [boxes, net.node("Sigmoid", net.grid("picture", classes + objectness, 2.0))]
    outputs = ["found"]
    if masks:
        parts.append(net.grid("picture", masks, 1.0))
        net.node("Tanh", net.conv("picture", masks, 4, spread=2.0), output="prototypes")
        outputs.append("prototypes")
    joined = net.node("Concat", *parts, axis=1)
    net.node("Transpose", joined, perm=[0, 2, 1] if objectness else [0, 1, 2], output="found")
    metadata = {"names": str({index: f"kind {index}" for index in range(classes)})} if names else None
    return net.save(path, outputs, metadata=metadata)


def save_detections(path: Path, boxes: int) -> Path:
    """Suppression inside: frames of any size and number as they are (n, h, w, 3) → boxes in parts, scores, classes."""
    net = NetworkBuilder()
    levels = net.node("Div", net.node("Cast", "picture", to=TensorProto.FLOAT), net.weight(np.float32(255)))
    seen = net.node("Transpose", levels, perm=[0, 3, 1, 2])
    four = net.weight(np.array([0, boxes, 4], dtype=np.int64))
    net.node("Reshape", net.node("Sigmoid", net.pooled(seen, 4 * boxes, 2.0)), four, output="boxes")
    net.node("Sigmoid", net.pooled(seen, boxes, 2.0), output="scores")
    net.node("Floor", net.node("Mul", "scores", net.weight(np.float32(7.9))), output="classes")
    return net.save(path, ["boxes", "scores", "classes"], shape=("n", "h", "w", 3), dtype=TensorProto.UINT8)


def save_classifier(path: Path, classes: int, **saving: object) -> Path:
    """`(n, classes)` of pictures of 64 × 64."""
    net = NetworkBuilder()
    net.node("Mul", net.pooled("picture", classes), net.weight(np.float32(4)), output="logits")
    return net.save(path, ["logits"], **saving)


def save_with_weights_in(path: Path, location: str) -> Path:
    """A classifier whose first weight's file says that it lies at `location`."""
    save_classifier(path, 5)
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    raw = weight.raw_data
    external_data_helper.set_external_data(weight, location, offset=0, length=len(raw))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    (path.parent / location).write_bytes(raw)
    return path


def save_segmenter(path: Path, classes: int, *, numbers: bool = False) -> Path:
    """`(n, classes, 16, 16)` logits, or with `numbers` the best class's `(n, 16, 16)`."""
    net = NetworkBuilder()
    logits = net.node("Mul", net.conv("picture", classes, 4, spread=0.5), net.weight(np.float32(4)), output="logits")
    if numbers:
        net.node("ArgMax", logits, axis=1, keepdims=0, output="classes")
    return net.save(path, ["classes" if numbers else "logits"])


def save_l2cs(path: Path, *, batch: int | str = "n") -> Path:
    """Two heads of 90 bins on 448 × 448 faces."""
    net = NetworkBuilder()
    small = net.node("AveragePool", "picture", kernel_shape=[7, 7], strides=[7, 7])
    for name in ("output_pitch", "output_yaw"):
        net.node("Mul", net.pooled(small, 90, spread=1.0), net.weight(np.float32(6)), output=name)
    return net.save(path, ["output_pitch", "output_yaw"], shape=(batch, 3, 448, 448))


def save_faces(path: Path) -> Path:
    """A network of BlazeFace's form that finds a few large faces in whatever it sees."""
    net = NetworkBuilder()
    seen = net.node("Transpose", "picture", perm=[0, 3, 1, 2])
    sides = np.zeros(16, dtype=np.float32)
    sides[2:4] = 90
    for name, numbers, spread in (("regressors", 16, 0.5), ("classificators", 1, 3.0)):
        parts = []
        for stride, anchors in ((8, 2), (16, 6)):
            found = net.node("Transpose", net.conv(seen, anchors * numbers, stride, spread=spread), perm=[0, 2, 3, 1])
            parts.append(net.node("Reshape", found, net.weight(np.array([0, -1, numbers], dtype=np.int64))))
        joined = net.node("Concat", *parts, axis=1)
        net.node("Add", joined, net.weight(sides if numbers == 16 else np.float32([0])), output=name)
    shapes = {"regressors": (1, 896, 16), "classificators": (1, 896, 1)}
    return net.save(path, list(shapes), shape=(1, 128, 128, 3), output_shapes=shapes)


def save_tiny_gaze(folder: Path) -> Path:
    """A folder for gaze detection with random weights."""
    write_card(folder, "{inference_type: gaze-detection, faces: faces.onnx, gaze: {estimator: l2cs, file: l2cs.onnx}}")
    save_faces(folder / "faces.onnx")
    save_l2cs(folder / "l2cs.onnx")
    return folder


def write_card(folder: Path, text: str) -> Path:
    """Put a card into the folder; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reelmill.yaml").write_text(text)
    return folder
