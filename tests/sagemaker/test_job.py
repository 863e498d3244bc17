import json
import logging

import pytest

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.sagemaker.job import Channel, TrainingJob
from gluonts_shell.sagemaker.paths import Paths

# what SageMaker wrote for a job in December 2025, with the keys that nobody announced
RESOURCES = {
    "current_host": "algo-1",
    "current_instance_type": "ml.c5.xlarge",
    "current_group_name": "homogeneousCluster",
    "hosts": ["algo-1"],
    "instance_groups": [
        {
            "instance_group_name": "homogeneousCluster",
            "instance_type": "ml.c5.xlarge",
            "hosts": ["algo-1"],
        }
    ],
    "network_interface_name": "eth0",
    "topology": None,
}
CHANNEL = {
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


@pytest.fixture
def tree(tmp_path):
    """Writes configuration files and makes the folders of channels; returns the job that they describe."""

    def make(*folders, **files):
        paths = Paths(tmp_path)
        paths.config.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (paths.config / f"{name}.json").write_text(text, encoding="utf-8")
        for folder in folders:
            (paths.data / folder).mkdir(parents=True)
        return TrainingJob.read(paths)

    make.data = tmp_path / "input" / "data"
    return make


def test_a_job_of_sagemaker_is_read_with_all_the_keys_that_it_has_today(tree):
    job = tree(
        "train",
        hyperparameters={
            "freq": '"D"',
            "epochs": "3",
            "$env.use_tqdm": "0",
            "sagemaker_program": "x",
        },
        inputdataconfig={
            "train": {**CHANNEL, "ContentType": "application/jsonlines", "Unheard": {"of": 1}}
        },
        resourceconfig=RESOURCES,
    )
    assert job.hyperparameters == {"freq": "D", "epochs": "3"}
    assert job.env == {"use_tqdm": "0"}
    assert job.channels == {"train": Channel("train", tree.data / "train", "application/jsonlines")}
    assert (job.host, job.hosts) == ("algo-1", ("algo-1",))


def test_without_any_file_the_job_is_empty_and_the_host_is_local(tree):
    assert tree() == TrainingJob({}, {}, "local", ("local",), {})


def test_where_there_is_no_tree_there_is_no_job(tmp_path):
    with pytest.raises(
        ConfigurationError,
        match=r"there is no job in '.*absent', expected input/config or input/data",
    ):
        TrainingJob.read(Paths(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()


def test_without_inputdataconfig_the_folders_are_the_channels_and_strays_are_none(tree):
    tree.data.mkdir(parents=True)
    (tree.data / ".DS_Store").write_text("x")
    (tree.data / "train-manifest").write_text("{}")
    (tree.data / ".hidden").mkdir()
    assert list(tree("train", "test").channels) == ["test", "train"]


def test_channels_that_others_read_are_left_alone_with_a_log_line(tree, caplog):
    caplog.set_level(logging.INFO)
    job = tree(
        "train",
        "pretrained",
        "code",
        "sm_drivers",
        inputdataconfig=dict.fromkeys(("train", "pretrained", "code", "sm_drivers"), CHANNEL),
    )
    assert list(job.channels) == ["train"]
    assert caplog.messages == [
        "channel 'pretrained' is left alone: this program reads train, validation, test, metadata, model and code"
    ]


def test_a_channel_without_its_folder_is_named(tree):
    with pytest.raises(
        ConfigurationError,
        match=r"^channel 'train' is in inputdataconfig.json, but there is no folder '.*/input/data/train'$",
    ):
        tree(inputdataconfig={"train": CHANNEL})


def test_pipe_mode_is_refused_by_name(tree):
    expected = r"^channel 'train' has TrainingInputMode 'Pipe', which is not supported; use 'File' or 'FastFile'$"
    with pytest.raises(ConfigurationError, match=expected):
        tree(inputdataconfig={"train": {**CHANNEL, "TrainingInputMode": "Pipe"}})


def test_fast_file_mode_is_file_mode(tree):
    assert list(
        tree(
            "train", inputdataconfig={"train": {**CHANNEL, "TrainingInputMode": "FastFile"}}
        ).channels
    ) == ["train"]


def test_hosts_are_sorted_so_that_all_of_them_agree_on_the_first(tree):
    job = tree(
        resourceconfig={
            **RESOURCES,
            "current_host": "algo-2",
            "hosts": ["algo-2", "algo-10", "algo-1"],
        }
    )
    assert (job.host, job.hosts) == ("algo-2", ("algo-1", "algo-10", "algo-2"))


@pytest.mark.parametrize("name", ["hyperparameters", "inputdataconfig", "resourceconfig"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            "{",
            r"cannot be read as JSON: Expecting property name enclosed in double quotes: line 1 column 2 \(char 1\)",
        ),
        ("", r"cannot be read as JSON: Expecting value: line 1 column 1 \(char 0\)"),
        ("[1]", "holds a JSON list, expected an object"),
    ],
)
def test_a_file_that_is_no_json_object_is_named(tree, name, content, fault):
    with pytest.raises(ConfigurationError, match=rf"^{name}\.json {fault}$"):
        tree(**{name: content})


def test_a_byte_order_mark_is_no_fault(tree):
    assert tree(hyperparameters='\ufeff{"freq": "D"}').hyperparameters == {"freq": "D"}


def test_values_that_are_no_strings_are_accepted(tree):
    assert tree(hyperparameters={"prediction_length": 7, "lr": 0.1, "x": None}).hyperparameters == {
        "prediction_length": 7,
        "lr": 0.1,
        "x": None,
    }


def test_channels_that_nobody_reads_are_known_by_name(tree):
    names = ("train", "Train", "code", "extra")
    assert tree(*names, inputdataconfig=dict.fromkeys(names, CHANNEL)).strangers == (
        "Train",
        "extra",
    )


def test_the_source_dir_is_known_and_no_hyperparameter(tree):
    job = tree(
        hyperparameters={
            "sagemaker_submit_directory": '"/opt/ml/code"',
            "sagemaker_program": '"x.py"',
        }
    )
    assert (job.source_dir, job.hyperparameters) == ("/opt/ml/code", {})


def test_a_host_that_is_not_among_the_hosts_is_an_error(tree):
    found = r"current_host is 'algo-3', expected one of the hosts, \['algo-1', 'algo-2'\]"
    with pytest.raises(ConfigurationError, match=found):
        tree(resourceconfig={"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]})


def test_a_host_without_a_name_among_others_is_an_error(tree):
    found = r"current_host is missing, expected one of the hosts, \['algo-1', 'algo-2'\]"
    with pytest.raises(ConfigurationError, match=found):
        tree(resourceconfig={"hosts": ["algo-1", "algo-2"]})


@pytest.mark.parametrize("hosts", ["algo-1", [1, 2], [["algo-1"]], ["", "algo-1"], {"algo-1": 1}])
def test_hosts_that_are_no_list_of_names_are_an_error(tree, hosts):
    """Each host would train by itself otherwise."""
    with pytest.raises(ConfigurationError, match=r"resourceconfig\.json: hosts is .*, expected a"):
        tree(resourceconfig={"current_host": "algo-1", "hosts": hosts})


def test_a_job_that_tells_no_hosts_is_of_one(tree):
    assert tree(resourceconfig={"current_host": "algo-1", "hosts": None}).hosts == ("algo-1",)
