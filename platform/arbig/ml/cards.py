"""Cards: what a person reads before a model trades, in Markdown."""

from __future__ import annotations

from arbig.store.models import Manifest

SENTENCES = {
    "correlation": "correlation of prediction and outcome 相关系数",
    "correlation_baseline": "the same of the baseline 基准的相关系数",
    "hit_rate": "sign right 方向正确率",
    "skill": "error saved against saying nothing 相对不预测的误差改善",
    "skill_over_baseline": "error saved against the baseline 相对基准的误差改善",
    "confidence_over_baseline": "that gain in standard errors, day by day 改善的显著性（按日）",
    "days": "trading days judged 评估交易日数",
    "rows": "rows judged 评估样本数",
}


def card(manifest: Manifest) -> str:
    origin = manifest.origin
    verdict = (
        "beats the linear baseline out of sample 样本外优于线性基准"
        if manifest.beats_baseline
        else "does NOT beat the baseline out of sample 样本外不优于基准"
    )
    figures = "\n".join(f"| {SENTENCES[name]} | {manifest.metrics[name]:.4g} |" for name in SENTENCES)
    return f"""# {manifest.name} {manifest.version}

{manifest.kind}; {verdict}.

| | |
|---|---|
| predicts 预测 | the move from the next bar's open to the close {manifest.horizon} minutes on, in basis points |
| contracts 合约 | {", ".join(origin.symbols)} |
| data 数据 | {origin.rows} rows, {origin.first:%Y-%m-%d %H:%M} to {origin.last:%Y-%m-%d %H:%M} |
| data hash | `{origin.hash[:16]}` |
| model hash | `{manifest.hash[:16]}` |
| saw bars up to 训练截止 | {manifest.trained_until:%Y-%m-%d %H:%M}; what it says about earlier bars looks ahead |
| features 特征 | `{manifest.feature_set}` {manifest.fingerprint}: {", ".join(manifest.features)} |
| parameters 参数 | {", ".join(f"{name} {value}" for name, value in manifest.params.items())} |
| made 训练时间 | {manifest.created:%Y-%m-%d %H:%M:%S} |

## Out of sample 样本外

Purged walk forward over whole trading days; rows whose labels reach into the judged days are not trained on.
按完整交易日滚动评估，标签触及评估日的样本不参与训练。

| measure 指标 | value |
|---|---|
{figures}

## Not for 不适用

Contracts and times of day it has not seen; slippage and fees are not in these figures (a backtest has them).
未训练过的合约与时段；以上不含滑点与手续费，请以回测为准。
"""
