#!/usr/bin/env bash
# From a folder of images to vectors, the nearest images of one of them, and a page to look at:
#
#   docs/examples/embed_a_folder.sh FOLDER IMAGE OUTPUT
#
# The flags of the training are for ink on paper. TRAINING_FLAGS adds others, for colour photographs
# "--image_size=64 --channels=3 --binarization=none --likelihood=gaussian --network=wae --width=0.125
# --fill=reflect --pose=none --eta=100 --nll_samples=50".
set -euo pipefail
folder=$1 image=$2 output=$3
read -r -a training_flags <<< "${TRAINING_FLAGS:-}"

python -m launch.train --dataset="folder:$folder" --image_size=28 --channels=1 --network=mlp \
    --binarization=dynamic --likelihood=bernoulli --pose=affine --epochs=20 --learning_rate=1e-3 \
    --output_dir="$output/run" "${training_flags[@]}"
python -m launch.embed --encoder="$output/run/encoder" --input="folder:$folder" \
    --output="$output/embeddings"
python -m launch.search --index="$output/embeddings" --image="$image" --output="$output/nearest.png"
python -m launch.report --runs="$output/run" --output="$output/report.html"
