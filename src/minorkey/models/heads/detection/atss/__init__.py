"""ATSS (arXiv 1912.02424) as the auxiliary head of a DETR in training, the idea of Co-DETR (arXiv 2211.12860).

A DETR matches every object to one query, so that few places of the encoder's maps are told that something is there.
Co-DETR lets a dense detector, which gives an object many places, learn on the same maps. After training it is dropped.
"""

from minorkey.models.heads.detection.atss.assign import atss_assign
from minorkey.models.heads.detection.atss.head import AtssHead, AtssOutput
from minorkey.models.heads.detection.atss.losses import atss_losses
from minorkey.models.heads.detection.atss.queries import PositiveAnchors, positive_anchors

__all__ = ["AtssHead", "AtssOutput", "PositiveAnchors", "atss_assign", "atss_losses", "positive_anchors"]
