"""What other trainers call things, and what they are called here: an unknown option is answered by its meaning."""

from collections.abc import Iterable, Mapping

from recolor_fast.machine.errors import UserError

COMMON = {  # words without dashes between them -> what to use here
    "dataset datadir dataroot datapath datasetpath traindir trainpath imagedir input inputdir": "--data FOLDER",
    "gpu gpus gpuid gpuids cuda accelerator": "--device cuda (CUDA_VISIBLE_DEVICES says which)",
    "cpu nocuda": "--device cpu",
    "randomseed manualseed": "--seed",
    "imagesize imgsize resolution cropsize finesize": "--size",
}
TRAIN = COMMON | {
    "epoch numepochs nepochs maxepochs numtrainepochs": "--epochs N, or --images N photographs seen",
    "steps iterations iters niter niters maxsteps maxiter numsteps": "--images N photographs seen, steps x batch",
    "bs b batchsize trainbatchsize batchsizepergpu perdevicetrainbatchsize": "--batch",
    "rate lrate baselr initlr": "--learning-rate, or --lr",
    "worker workers numworkers nworkers numthreads nthreads j jobs": "--threads",
    "o out output outdir outputdir savedir logdir resultsdir checkpointsdir": "--runs FOLDER and --name NAME",
    "exp experiment expname experimentname runname": "--name",
    "ckpt checkpoint checkpointpath weights pretrained load loadfrom initfrom finetune": (
        "--start RUN for its weights, or --resume --name RUN to resume it"
    ),
    "resumefrom resumefromcheckpoint continue continuetrain": "--resume --name RUN",
    "fp16 half": "--amp --amp-dtype float16",
    "bf16 mixedprecision precision autocast": "--amp",
    "config cfg conf opt opts configfile optionsfile": "--options FILE.json",
    "model arch architecture netg backbone": "--preset for a whole system, or --generator",
    "netd discriminator": "--critic",
    "ncritic criticiters discsteps": "--critic-steps",
    "ngf ndf basechannels channels filters": "--width",
    "lambda lambdal1 l1weight losses loss": "--terms, as in --terms l1 100 lpips_alex 50",
    "lambdagp gpweight gp": "--gradient-penalty",
    "ganmode ganloss": "--adversary",
    "savefreq saveinterval saveepochfreq checkpointevery evalevery evalinterval": "--save-every PHOTOGRAPHS",
    "logfreq loginterval printfreq displayfreq logsteps": "--log-every PHOTOGRAPHS",
    "accumulate accumulationsteps gradaccum gradaccumsteps gradientaccumulationsteps": (
        "--batch for the whole and --micro-batch for what is in memory at a time"
    ),
    "lrpolicy lrscheduler scheduler lrdecay": "--decay SHARE",
    "wd": "--weight-decay",
    "valsplit valratio valsize": "--val-per-class",
    "distributed ddp worldsize nprocpernode numgpus nodes": "nothing yet: one process trains on one device",
}
EVALUATE = COMMON | {
    "ckpt checkpoint checkpointpath weights model run system": "the run folder or file itself, without an option",
    "o output outdir outputdir outputfolder savedir resultsdir": "--out DIR",
    "n num numimages maxsamples maximages": "--limit",
}
EXPORT = {
    "ckpt checkpoint checkpointpath weights model run": "the run folder or file itself, without an option",
    "o output outdir outputdir outputfolder outputfile": "--out",
    "fp16 half": "--precision fp16",
    "int8 quantize": "--precision int8",
    "calibration calibrationdata": "--calibrate FOLDER",
}

COLORIZE = {
    "ckpt checkpoint checkpointpath weights modelpath onnx": "--model FILE.onnx",
    "o out output outdir outputdir outputfolder outputpath savedir": "the last path, without an option",
    "i in input inputdir inputfolder inputpath data datadir": "a path before the last one, without an option",
    "gpu gpus gpuid device cuda": "--provider cuda",
    "cpu nocuda": "--provider cpu",
    "worker workers numworkers numthreads j jobs": "--threads",
    "r recurse recursive": "nothing: a folder is read with all that lies below it",
    "force f": "--overwrite",
}


def check(argv: Iterable[str], known: Iterable[str], table: Mapping[str, str]) -> None:
    """UserError for an option of `argv` that is none of `known` (names, any dashes) and that the table has a word for.

    Others are for the parser to judge, which suggests what is spelled alike.
    """
    ours = {plain_name(name) for name in known} | {f"no{plain_name(name)}" for name in known}
    meant = {plain_name(word): advice for words, advice in table.items() for word in words.split()}
    for word in argv:
        name = word.split("=", 1)[0]
        plain = plain_name(name)
        if name.startswith("-") and plain not in ours and plain in meant:
            raise UserError(f"unknown option {name}: here it is {meant[plain]}")


def plain_name(name: str) -> str:
    """An option's name without dashes, in lower case."""
    return name.lower().replace("-", "").replace("_", "")
