"""A classifier as others load it."""

from minorkey.tasks.exported import Exported

NOTE = (
    "Classes: `outputs.logits.softmax(-1)`, in the order of `model.config.id2label`. Images are brought to one size, "
    "whatever their sides, as they were for the scores below."
)

EXPORTED = Exported(
    name="An image classification model",
    auto_class="AutoModelForImageClassification",
    pipeline="image-classification",
    tag="image-classification",
    processor={"image_processor_type": "ViTImageProcessor"},
    note=NOTE,
)
