"""Molecules."""

from __future__ import annotations

import os
from typing import Any

from artline.artifacts.media.base import Content, FileMedia, read_source
from artline.errors import MissingExtraError, UsageError

__all__ = ["Molecule"]


class Molecule(FileMedia):
    """The structure of a molecule, with a caption.

    Made of a path or an open file (``file_type`` tells its format where its name does not), kept byte by
    byte: PDB, PQR, mmCIF, CIF, SDF, GRO, MOL2 or MMTF. ``from_smiles`` and ``from_rdkit`` make one with
    RDKit. Raises UsageError, SourceNotFoundError.
    """

    kind = "molecule"
    record_type = "molecule-file"
    list_type = "molecule"
    items = "molecules"
    folder = "molecule"
    suffixes = (".pdb", ".pqr", ".mmcif", ".mcif", ".cif", ".sdf", ".sd", ".gro", ".mol2", ".mmtf")

    def __init__(
        self, data_or_path: Any, caption: str | None = None, *, file_type: str | None = None
    ) -> None:
        if not isinstance(data_or_path, str | os.PathLike) and not hasattr(data_or_path, "read"):
            raise UsageError(
                f"cannot make a molecule of a {type(data_or_path).__name__}. Pass a path or an open file, or "
                "use Molecule.from_rdkit or Molecule.from_smiles"
            )
        content, name = read_source(data_or_path, "molecule file")
        super().__init__(content, self.suffix_of(f".{file_type}" if file_type else name), caption)

    @classmethod
    def from_rdkit(
        cls,
        data_or_path: Any,
        caption: str | None = None,
        convert_to_3d_and_optimize: bool = True,
        mmff_optimize_molecule_max_iterations: int = 200,
    ) -> Molecule:
        """Make one of a molecule of RDKit, or of a file (.mol, .sdf) that RDKit reads.

        With ``convert_to_3d_and_optimize`` hydrogens are added and coordinates are computed. Raises
        MissingExtraError without RDKit, UsageError for what RDKit refuses.
        """
        chemistry = _rdkit()
        molecule = data_or_path
        if isinstance(data_or_path, str | os.PathLike):
            molecule = next(iter(chemistry.SDMolSupplier(os.fspath(data_or_path), removeHs=False)), None)
        if molecule is None or not hasattr(molecule, "GetNumAtoms"):
            raise UsageError(f"RDKit finds no molecule in {data_or_path!r}")
        if convert_to_3d_and_optimize:
            from rdkit.Chem import AllChem

            molecule = chemistry.AddHs(molecule)
            if AllChem.EmbedMolecule(molecule, randomSeed=0) != 0:
                raise UsageError(
                    "RDKit finds no place in space for the molecule. Pass convert_to_3d_and_optimize=False"
                )
            AllChem.MMFFOptimizeMolecule(molecule, maxIters=mmff_optimize_molecule_max_iterations)
        made = cls.__new__(cls)
        FileMedia.__init__(made, Content(chemistry.MolToPDBBlock(molecule).encode()), ".pdb", caption)
        return made

    @classmethod
    def from_smiles(
        cls,
        data: str,
        caption: str | None = None,
        sanitize: bool = True,
        convert_to_3d_and_optimize: bool = True,
        mmff_optimize_molecule_max_iterations: int = 200,
    ) -> Molecule:
        """Make one of a SMILES text, with RDKit; errors as of ``from_rdkit``."""
        molecule: Any = _rdkit().MolFromSmiles(data, sanitize=sanitize)
        if molecule is None:
            raise UsageError(f"RDKit cannot read {data!r} as SMILES")
        return cls.from_rdkit(
            molecule, caption, convert_to_3d_and_optimize, mmff_optimize_molecule_max_iterations
        )

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        return {"format": self.suffix[1:]}


def _rdkit() -> Any:
    try:
        from rdkit import Chem
    except ImportError as error:
        raise MissingExtraError("molecules of this kind need RDKit. Install it: pip install rdkit") from error
    return Chem
