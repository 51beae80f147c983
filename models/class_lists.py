"""Lists of class names that model cards may name instead of writing them out."""

from __future__ import annotations

_COCO = (
    "background,person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,street sign,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,hat,backpack,umbrella,"
    "shoe,eye glasses,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,"
    "skateboard,surfboard,tennis racket,bottle,plate,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,"
    "orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,mirror,dining table,window,desk,"
    "toilet,door,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,blender,book,"
    "clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
COCO_91: tuple[str, ...] = tuple(_COCO.split(","))
"""The classes of COCO by their own numbers, 1 to 90; 0 is what detectors call the background."""

_WITHOUT_BOXES = {
    "background", "street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door", "blender",
}  # fmt: skip
"""Classes that COCO numbered and never annotated."""

COCO_80: tuple[str, ...] = tuple(name for name in COCO_91 if name not in _WITHOUT_BOXES)
"""The classes of COCO that have boxes, counted through from 0, as the YOLO family does."""

CLASS_LISTS: dict[str, tuple[str, ...]] = {"coco80": COCO_80, "coco91": COCO_91}
