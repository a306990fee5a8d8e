"""The files about the repository itself say what is so."""

import re
from pathlib import Path

import yaml

import mmirstd

ROOT = Path(__file__).resolve().parents[1]


def test_citation_has_the_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['cff-version'] == '1.2.0'
    assert citation['version'] == mmirstd.__version__
    assert {reference['notes'] for reference in citation['references']} == {'SimIR', 'IRSAM', 'SGEM'}


def test_changelog_has_the_version_with_a_date():
    headings = re.findall(r'^## (.*)$', (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), re.M)
    assert headings[0] == 'Unreleased'
    versions = [re.fullmatch(r'(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d', heading)[1] for heading in headings[1:]]
    assert versions[0] == mmirstd.__version__
    assert versions == sorted(versions, key=lambda v: [int(n) for n in v.split('.')], reverse=True)


def test_commands_of_the_contributing_page_exist():
    page = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    named = set(re.findall(r'`make ([\w-]+)', page))
    targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.M))
    assert {'lint', 'test', 'test-all', 'test-wheel', 'layers'} <= named <= targets


def test_what_continuous_integration_names_exists():
    workflow = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text(encoding='utf-8'))
    commands = [step['run'] for job in workflow['jobs'].values() for step in job['steps'] if 'run' in step]
    assert commands == ['.ci/run', 'make test']
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
        for hook in repo['hooks']
    ]
    lint = re.search(r'^lint:.*\n((?:\t.*\n)+)', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.M)[1]
    for hook in hooks:  # each is a check of `make lint`
        tool = hook['entry'].split()[0].removeprefix('.venv/bin/')
        script = re.search(r'\.ci/\S+', hook['entry'])
        assert (script[0] if script else tool) in lint, hook['id']
