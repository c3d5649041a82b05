"""One scene as tools for labelling export it: their folders, names, fields and whims, written here."""

from exported.coco import coco_document, cvat_coco, label_studio_coco, published_coco, roboflow_coco
from exported.masks import mmsegmentation, plain_masks, roboflow_masks, table_of_masks, tables_of_splits
from exported.scene import BOXES, LABELS, ids_png, painted_png, photo, text
from exported.shapes import cvat_images, labelme, supervisely
from exported.voc import cvat_voc, labelimg_voc, labelme_voc, published_voc, roboflow_voc
from exported.yolo import cvat_yolo, cvat_yolo_1_1, label_studio_yolo, roboflow_yolo, ultralytics_pose, ultralytics_seg

__all__ = [
    "BOXES",
    "LABELS",
    "coco_document",
    "cvat_coco",
    "cvat_images",
    "cvat_voc",
    "cvat_yolo",
    "cvat_yolo_1_1",
    "ids_png",
    "label_studio_coco",
    "label_studio_yolo",
    "labelimg_voc",
    "labelme",
    "labelme_voc",
    "mmsegmentation",
    "painted_png",
    "photo",
    "plain_masks",
    "published_coco",
    "published_voc",
    "roboflow_coco",
    "roboflow_masks",
    "roboflow_voc",
    "roboflow_yolo",
    "supervisely",
    "table_of_masks",
    "tables_of_splits",
    "text",
    "ultralytics_pose",
    "ultralytics_seg",
]
